// Package env is what pulsectl's commands share: streams, settings, connections,
// and the flags and lists of ids that several of them take.
package env

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
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
	Getenv func(string) string // the environment

	Flags    Settings
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

// For works on a stack that is running and nothing else: no flag or variable
// says otherwise.
func For(out *console.IO, s stack.State) *Env {
	return &Env{
		IO: out, Getenv: func(string) string { return "" }, state: &s,
		Flags: Settings{Queue: "order.created", Consumer: "notifications"},
	}
}

// Settings are the values of the flags that say where things are.
type Settings struct {
	OutboxDB, InboxDB, AMQPURL  string
	OrdersURL, NotificationsURL string
	Queue, Consumer             string
	QueueGiven                  bool   // by flag or environment
	RetryDelays                 string // none: the consumer has no retry queues
	ManagementURL               string
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

// Running returns the stack that is up, or an error with the way to one.
func (e *Env) Running() (stack.State, error) {
	if e.state == nil && e.stateErr == nil {
		dir, err := e.Dir()
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

// IgnoreRunning makes settings come from flags and environment alone.
func (e *Env) IgnoreRunning() { e.state, e.stateErr = nil, stack.ErrNotRunning }

// Dir is the folder of the state file.
func (e *Env) Dir() (string, error) {
	if e.stateDir == "" {
		dir, err := stack.Dir(e.Getenv)
		if err != nil {
			return "", err
		}
		e.stateDir = dir
	}
	return e.stateDir, nil
}

// Setting resolves one value: flag, environment, file named by NAME_FILE,
// running stack, in this order. It returns "" where nobody knows.
func (e *Env) Setting(flag, envName string, fromState func(stack.State) string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if v := e.Getenv(envName); v != "" {
		return v, nil
	}
	if read := e.Rotated(flag, envName); read != nil {
		value, err := read(context.Background())
		if err != nil {
			return "", fail.New(fail.Usage, "", "%s_FILE: %v", envName, err)
		}
		return value, nil
	}
	s, err := e.Running()
	switch {
	case err == nil:
		return fromState(s), nil
	case errors.Is(err, stack.ErrNotRunning):
		return "", nil
	}
	return "", fail.Wrap("cannot tell where the stack is", err)
}

// Rotated reads a setting that a file holds as it is by then, as for the next
// connect. It is nil where the setting comes from elsewhere.
func (e *Env) Rotated(flag, envName string) func(context.Context) (string, error) {
	file := e.Getenv(envName + "_FILE")
	if flag != "" || e.Getenv(envName) != "" || file == "" {
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

// OutboxURL is where the outbox is; an error where nobody has said so.
func (e *Env) OutboxURL() (string, error) {
	v, err := e.Setting(e.Flags.OutboxDB, "PULSE_OUTBOX_DB", func(s stack.State) string { return s.OutboxDB })
	return e.required(v, err, "outbox database", "--outbox-db", "PULSE_OUTBOX_DB")
}

// InboxURL is OutboxURL for the inbox.
func (e *Env) InboxURL() (string, error) {
	v, err := e.Setting(e.Flags.InboxDB, "PULSE_INBOX_DB", func(s stack.State) string { return s.InboxDB })
	return e.required(v, err, "inbox database", "--inbox-db", "PULSE_INBOX_DB")
}

// AMQPURL is OutboxURL for the broker.
func (e *Env) AMQPURL() (string, error) {
	v, err := e.Setting(e.Flags.AMQPURL, "PULSE_AMQP_URL", func(s stack.State) string { return s.AMQPURL })
	return e.required(v, err, "broker", "--amqp-url", "PULSE_AMQP_URL")
}

// OrdersURL is the base URL of the orders service, or its default.
func (e *Env) OrdersURL() (string, error) {
	v, _, err := e.GivenOrdersURL()
	return v, err
}

// NotificationsURL is OrdersURL for the notifications service.
func (e *Env) NotificationsURL() (string, error) {
	v, _, err := e.GivenNotificationsURL()
	return v, err
}

// GivenOrdersURL tells beside the URL whether anybody has given it.
func (e *Env) GivenOrdersURL() (string, bool, error) {
	v, err := e.Setting(e.Flags.OrdersURL, "PULSE_ORDERS_URL", func(s stack.State) string { return s.OrdersURL })
	return cmp.Or(v, "http://127.0.0.1:6101"), v != "", err
}

// GivenNotificationsURL is GivenOrdersURL for the notifications service.
func (e *Env) GivenNotificationsURL() (string, bool, error) {
	v, err := e.Setting(e.Flags.NotificationsURL, "PULSE_NOTIFICATIONS_URL", func(s stack.State) string { return s.NotificationsURL })
	return cmp.Or(v, "http://127.0.0.1:6102"), v != "", err
}

// Outbox opens the outbox and its database.
func (e *Env) Outbox(ctx context.Context) (*outbox.Outbox, *sqlx.DB, error) {
	if e.outbox != nil {
		return e.outbox, e.outDB, nil
	}
	url, err := e.OutboxURL()
	if err != nil {
		return nil, nil, err
	}
	db, err := e.open(ctx, "outbox database", url, e.Rotated(e.Flags.OutboxDB, "PULSE_OUTBOX_DB"))
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
	url, err := e.InboxURL()
	if err != nil {
		return nil, nil, err
	}
	db, err := e.open(ctx, "inbox database", url, e.Rotated(e.Flags.InboxDB, "PULSE_INBOX_DB"))
	if err != nil {
		return nil, nil, err
	}
	in, err := inbox.New(db, e.Flags.Consumer)
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
		return nil, fail.CannotReach(what, err)
	}
	return db, nil
}

// Publisher opens a publisher of its own. It connects by itself; until then
// Publish waits for it.
func (e *Env) Publisher() (*outboxrabbit.Publisher, error) {
	if e.publisher != nil {
		return e.publisher, nil
	}
	url, err := e.AMQPURL()
	if err != nil {
		return nil, err
	}
	files, err := e.AMQPTLS()
	if err != nil {
		return nil, err
	}
	p, err := outboxrabbit.NewPublisher(outboxrabbit.PublisherConfig{
		URL: url, GetURL: e.Rotated(e.Flags.AMQPURL, "PULSE_AMQP_URL"), GetTLS: files.Get(), Producer: "pulsectl", Logger: slog.New(slog.DiscardHandler), // its errors come back as verdicts
	})
	if err != nil {
		return nil, fail.Usagef("", "--amqp-url: %v", err)
	}
	e.closers = append(e.closers, p.Close)
	e.publisher = p
	return p, nil
}

// AMQPTLS names what amqps:// needs beside the URL: an authority of one's own, a
// client's certificate. They are read at each connect, and once here, so that
// a problem is told at once.
func (e *Env) AMQPTLS() (rabbit.TLSFiles, error) {
	files := rabbit.TLSFiles{CA: e.Getenv("PULSE_AMQP_CA_FILE"), Cert: e.Getenv("PULSE_AMQP_CERT_FILE"), Key: e.Getenv("PULSE_AMQP_KEY_FILE")}
	if _, err := files.Load(); err != nil {
		return files, fail.Usagef("", "PULSE_AMQP_CA_FILE, PULSE_AMQP_CERT_FILE, PULSE_AMQP_KEY_FILE: %v", err)
	}
	return files, nil
}
