// Package command holds pulsectl's commands: each an options struct, its
// checks, and a run. What they share (streams, settings, connections) is Env.
package command

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	pulsesettings "github.com/asimalizada/pulse-events/internal/settings"
	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// dialTimeout bounds the first contact with a database.
const dialTimeout = 10 * time.Second

// Env is what a command works with. Databases and broker are reached when
// they are first asked for: help and completion never dial.
type Env struct {
	IO     *console.IO
	getenv func(string) string

	flags    settings
	stateDir string
	state    *stack.State // nil: not looked for yet
	stateErr error

	outbox *outbox.Outbox
	inbox  *inbox.Inbox
	outDB  *sqlx.DB
	inDB   *sqlx.DB

	publisher *outboxrabbit.Publisher
	closers   []func() error
}

// settings are the values of the flags that say where things are.
type settings struct {
	outboxDB, inboxDB, amqpURL  string
	ordersURL, notificationsURL string
	queue, consumer             string
	queueGiven                  bool   // by flag or environment
	retryDelays                 string // none: the consumer has no retry queues
	managementURL               string
}

// Close ends every connection.
func (e *Env) Close() error {
	var errs []error
	for i := len(e.closers) - 1; i >= 0; i-- {
		errs = append(errs, e.closers[i]())
	}
	e.closers = nil
	return errors.Join(errs...)
}

// running returns the stack that is up, or an error with the way to one.
func (e *Env) running() (stack.State, error) {
	if e.state == nil && e.stateErr == nil {
		dir, err := e.dir()
		if err != nil { // then nobody can have noted one either
			e.stateErr = stack.ErrNotRunning
			return stack.State{}, e.stateErr
		}
		s, err := stack.Load(dir)
		if e.stateErr = err; err == nil {
			e.state = &s
		}
	}
	if e.stateErr != nil {
		return stack.State{}, e.stateErr
	}
	return *e.state, nil
}

func (e *Env) dir() (string, error) {
	if e.stateDir == "" {
		dir, err := stack.Dir(e.getenv)
		if err != nil {
			return "", err
		}
		e.stateDir = dir
	}
	return e.stateDir, nil
}

// setting resolves one value: flag, environment, file named by NAME_FILE,
// running stack, in this order. It returns "" where nobody knows.
func (e *Env) setting(flag, envName string, fromState func(stack.State) string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if v := e.getenv(envName); v != "" {
		return v, nil
	}
	if read := e.rotated(flag, envName); read != nil {
		value, err := read(context.Background())
		if err != nil {
			return "", fail.New(fail.Usage, "", "%s_FILE: %v", envName, err)
		}
		return value, nil
	}
	s, err := e.running()
	switch {
	case err == nil:
		return fromState(s), nil
	case errors.Is(err, stack.ErrNotRunning):
		return "", nil
	}
	return "", fail.Wrap("cannot tell where the stack is", err)
}

// rotated reads a setting that a file holds as it is by then, as for the next
// connect. It is nil where the setting comes from elsewhere.
func (e *Env) rotated(flag, envName string) func(context.Context) (string, error) {
	file := e.getenv(envName + "_FILE")
	if flag != "" || e.getenv(envName) != "" || file == "" {
		return nil
	}
	return func(context.Context) (string, error) { return pulsesettings.ReadSecret(file) }
}

func (e *Env) required(value string, err error, what, flag, envName string) (string, error) {
	if err != nil || value != "" {
		return value, err
	}
	return "", fail.Usagef("start a stack with pulsectl up, or set "+envName+" or "+flag, "no %s given", what)
}

func (e *Env) outboxURL() (string, error) {
	v, err := e.setting(e.flags.outboxDB, "PULSE_OUTBOX_DB", func(s stack.State) string { return s.OutboxDB })
	return e.required(v, err, "outbox database", "--outbox-db", "PULSE_OUTBOX_DB")
}

func (e *Env) inboxURL() (string, error) {
	v, err := e.setting(e.flags.inboxDB, "PULSE_INBOX_DB", func(s stack.State) string { return s.InboxDB })
	return e.required(v, err, "inbox database", "--inbox-db", "PULSE_INBOX_DB")
}

func (e *Env) amqpURL() (string, error) {
	v, err := e.setting(e.flags.amqpURL, "PULSE_AMQP_URL", func(s stack.State) string { return s.AMQPURL })
	return e.required(v, err, "broker", "--amqp-url", "PULSE_AMQP_URL")
}

func (e *Env) ordersURL() (string, error) {
	v, _, err := e.givenOrdersURL()
	return v, err
}

func (e *Env) notificationsURL() (string, error) {
	v, _, err := e.givenNotificationsURL()
	return v, err
}

// givenOrdersURL tells beside the URL whether anybody has given it.
func (e *Env) givenOrdersURL() (string, bool, error) {
	v, err := e.setting(e.flags.ordersURL, "PULSE_ORDERS_URL", func(s stack.State) string { return s.OrdersURL })
	return cmp.Or(v, "http://127.0.0.1:6101"), v != "", err
}

func (e *Env) givenNotificationsURL() (string, bool, error) {
	v, err := e.setting(e.flags.notificationsURL, "PULSE_NOTIFICATIONS_URL", func(s stack.State) string { return s.NotificationsURL })
	return cmp.Or(v, "http://127.0.0.1:6102"), v != "", err
}

// Outbox opens the outbox and its database.
func (e *Env) Outbox(ctx context.Context) (*outbox.Outbox, *sqlx.DB, error) {
	if e.outbox != nil {
		return e.outbox, e.outDB, nil
	}
	url, err := e.outboxURL()
	if err != nil {
		return nil, nil, err
	}
	db, err := e.open(ctx, "outbox database", url, e.rotated(e.flags.outboxDB, "PULSE_OUTBOX_DB"))
	if err != nil {
		return nil, nil, err
	}
	ob, err := outbox.New(db)
	if err != nil {
		return nil, nil, fail.Wrap("cannot use the outbox", err)
	}
	e.outbox, e.outDB = ob, db
	return ob, db, nil
}

// Inbox opens the inbox and its database.
func (e *Env) Inbox(ctx context.Context) (*inbox.Inbox, *sqlx.DB, error) {
	if e.inbox != nil {
		return e.inbox, e.inDB, nil
	}
	url, err := e.inboxURL()
	if err != nil {
		return nil, nil, err
	}
	db, err := e.open(ctx, "inbox database", url, e.rotated(e.flags.inboxDB, "PULSE_INBOX_DB"))
	if err != nil {
		return nil, nil, err
	}
	in, err := inbox.New(db, e.flags.consumer)
	if err != nil {
		return nil, nil, fail.Wrap("cannot use the inbox", err)
	}
	e.inbox, e.inDB = in, db
	return in, db, nil
}

func (e *Env) open(ctx context.Context, what, url string, again func(context.Context) (string, error)) (*sqlx.DB, error) {
	db, _, err := database.Config{URL: url, GetURL: again, Name: "pulsectl"}.Open()
	if err != nil {
		return nil, fail.Usagef("", "%s: %v", what, err)
	}
	e.closers = append(e.closers, db.Close)
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	waitedFor := func() string { return "the " + what + " to answer" }
	if err := e.IO.Wait(ctx, waitedFor, func(io.Writer) error { return db.PingContext(ctx) }); err != nil {
		return nil, unreachable(what, err)
	}
	return db, nil
}

func unreachable(what string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return &fail.Error{Kind: fail.Unreachable, Message: "cannot reach the " + what, Cause: err,
		Hint: "check the URL and that the server is up: pulsectl status"}
}

// Publisher opens a publisher of its own. It connects by itself; until then
// Publish waits for it.
func (e *Env) Publisher() (*outboxrabbit.Publisher, error) {
	if e.publisher != nil {
		return e.publisher, nil
	}
	url, err := e.amqpURL()
	if err != nil {
		return nil, err
	}
	files, err := e.amqpTLS()
	if err != nil {
		return nil, err
	}
	p, err := outboxrabbit.NewPublisher(outboxrabbit.PublisherConfig{
		URL: url, GetURL: e.rotated(e.flags.amqpURL, "PULSE_AMQP_URL"), GetTLS: files.Get(), Producer: "pulsectl", Logger: slog.New(slog.DiscardHandler), // its errors come back as verdicts
	})
	if err != nil {
		return nil, fail.Usagef("", "--amqp-url: %v", err)
	}
	e.closers = append(e.closers, p.Close)
	e.publisher = p
	return p, nil
}

// queues reads the queues of the consumer; each call is a connection of its own.
func (e *Env) queues() (queues, error) {
	url, err := e.amqpURL()
	if err != nil {
		return queues{}, err
	}
	files, err := e.amqpTLS()
	if err != nil {
		return queues{}, err
	}
	if err := (rabbit.Config{URL: url, GetTLS: files.Get()}).Validate(); err != nil {
		return queues{}, fail.Usagef("", "--amqp-url: %v", err)
	}
	q := queues{source: inboxrabbit.SourceConfig{
		URL: url, GetURL: e.rotated(e.flags.amqpURL, "PULSE_AMQP_URL"), GetTLS: files.Get(), Queue: e.flags.queue,
	}}
	if q.management, err = e.management(url); err != nil {
		return queues{}, err
	}
	if q.noLadder = e.flags.retryDelays == "none"; q.noLadder || e.flags.retryDelays == "" {
		return q, nil
	}
	for text := range strings.SplitSeq(e.flags.retryDelays, ",") {
		delay, err := time.ParseDuration(strings.TrimSpace(text))
		if err != nil || delay <= 0 {
			return queues{}, fail.Usagef("for example: --retry-delays 1s,5s,30s", "--retry-delays: %q is no duration", text)
		}
		q.source.RetryDelays = append(q.source.RetryDelays, delay)
	}
	return q, nil
}

// amqpTLS names what amqps:// needs beside the URL: an authority of one's own, a
// client's certificate. They are read at each connect, and once here, so that
// a problem is told at once.
func (e *Env) amqpTLS() (rabbit.TLSFiles, error) {
	files := rabbit.TLSFiles{CA: e.getenv("PULSE_AMQP_CA_FILE"), Cert: e.getenv("PULSE_AMQP_CERT_FILE"), Key: e.getenv("PULSE_AMQP_KEY_FILE")}
	if _, err := files.Load(); err != nil {
		return files, fail.Usagef("", "PULSE_AMQP_CA_FILE, PULSE_AMQP_CERT_FILE, PULSE_AMQP_KEY_FILE: %v", err)
	}
	return files, nil
}
