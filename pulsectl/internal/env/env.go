// Package env holds what pulsectl's commands share: streams, settings,
// connections, and the flags and lists of ids that several of them accept.
package env

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/api"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

const (
	// dialTimeout limits the first connection to a database.
	dialTimeout = 10 * time.Second
	// LookLimit limits one look at a server.
	LookLimit = 10 * time.Second
)

// Env is the environment of a command. It connects to databases and broker when
// they are first used: help and completion never connect.
type Env struct {
	IO     *console.IO
	Getenv func(string) string // the environment

	Flags    Settings
	stateDir string
	state    *stack.State // nil: not read yet
	stateErr error

	outbox *outbox.Outbox
	inbox  *inbox.Inbox
	outDB  *sqlx.DB
	inDB   *sqlx.DB

	publisher *outboxrabbit.Publisher
	closers   []func() error
}

// For returns an Env for a running stack alone, without flags and variables.
func For(out *console.IO, s stack.State) *Env {
	return &Env{
		IO: out, Getenv: func(string) string { return "" }, state: &s,
		Flags: Settings{Queue: "order.created", Consumer: "notifications"},
	}
}

// Again returns an Env with the same settings that has neither read the stack's
// record nor opened anything, and writes to out. The caller closes it.
func (e *Env) Again(out *console.IO) *Env {
	return &Env{IO: out, Getenv: e.Getenv, Flags: e.Flags}
}

// Settings are the values of the flags that name servers.
type Settings struct {
	OutboxDB, InboxDB, AMQPURL  string
	OrdersURL, NotificationsURL string
	APITokenFile                string
	Queue, Consumer             string
	QueueGiven                  bool   // by flag or environment
	RetryDelays                 string // none: the consumer has no retry queues
	ManagementURL               string
}

// Close closes every connection.
func (e *Env) Close() error {
	var errs []error
	for i := len(e.closers) - 1; i >= 0; i-- {
		errs = append(errs, e.closers[i]())
	}
	e.closers = nil
	return errors.Join(errs...)
}

// Servers says which servers are set by flag, environment or a running stack.
type Servers struct{ Outbox, Inbox, Broker bool }

// Given returns which servers are set; a wrong setting is an error.
func (e *Env) Given() (s Servers, err error) {
	for _, v := range []struct {
		given         *bool
		flag, envName string
		fromState     func(stack.State) string
	}{
		{&s.Outbox, e.Flags.OutboxDB, "PULSE_OUTBOX_DB", func(s stack.State) string { return s.OutboxDB }},
		{&s.Inbox, e.Flags.InboxDB, "PULSE_INBOX_DB", func(s stack.State) string { return s.InboxDB }},
		{&s.Broker, e.Flags.AMQPURL, "PULSE_AMQP_URL", func(s stack.State) string { return s.AMQPURL }},
	} {
		value, err := e.Setting(v.flag, v.envName, v.fromState)
		if err != nil {
			return s, err
		}
		*v.given = value != ""
	}
	return s, nil
}

// AnyGiven returns an error if neither a database nor a broker is set.
func (e *Env) AnyGiven() error {
	_, err := e.OutboxURL()
	_, inboxErr := e.InboxURL()
	_, brokerErr := e.Queues()
	for _, err := range []error{err, inboxErr, brokerErr} {
		if err == nil || fail.From(err).Kind != fail.Usage {
			return nil
		}
	}
	return err
}

// Running returns the running stack, or an error that says how to start one.
func (e *Env) Running() (stack.State, error) {
	if e.state == nil && e.stateErr == nil {
		dir, err := e.Dir()
		if err != nil { // without a directory nothing can be recorded
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

// IgnoreRunning restricts settings to flags and environment.
func (e *Env) IgnoreRunning() { e.state, e.stateErr = nil, stack.ErrNotRunning }

// Dir returns the directory of the state file.
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

// Setting resolves one value from flag, environment, file named by NAME_FILE,
// and running stack, in this order. It returns "" if none has it.
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
	return "", fail.Wrap("cannot find the stack", err)
}

// Rotated returns a function that reads the current value from a file, for the
// next connect. It is nil if the setting is not from a file.
func (e *Env) Rotated(flag, envName string) func(context.Context) (string, error) {
	file := e.Getenv(envName + "_FILE")
	if flag != "" || e.Getenv(envName) != "" || file == "" {
		return nil
	}
	return func(context.Context) (string, error) { return readSecret(file) }
}

// readSecret returns the content of a file without the line's end. An empty
// file, as there is one while it is being written, is an error.
func readSecret(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	value := strings.TrimRight(string(content), "\r\n")
	if value == "" {
		return "", fmt.Errorf("the file %s is empty", path)
	}
	return value, nil
}

func (e *Env) required(value string, err error, what, flag, envName string) (string, error) {
	if err != nil || value != "" {
		return value, err
	}
	return "", fail.Usagef("start a stack with pulsectl up, or set "+envName+" or "+flag, "no %s given", what)
}

// OutboxURL returns the URL of the outbox's database; it is an error if none is
// set.
func (e *Env) OutboxURL() (string, error) {
	v, err := e.Setting(e.Flags.OutboxDB, "PULSE_OUTBOX_DB", func(s stack.State) string { return s.OutboxDB })
	return e.required(v, err, "outbox database", "--outbox-db", "PULSE_OUTBOX_DB")
}

// InboxURL returns the URL of the inbox's database, like OutboxURL.
func (e *Env) InboxURL() (string, error) {
	v, err := e.Setting(e.Flags.InboxDB, "PULSE_INBOX_DB", func(s stack.State) string { return s.InboxDB })
	return e.required(v, err, "inbox database", "--inbox-db", "PULSE_INBOX_DB")
}

// AMQPURL returns the URL of the broker, like OutboxURL.
func (e *Env) AMQPURL() (string, error) {
	v, err := e.Setting(e.Flags.AMQPURL, "PULSE_AMQP_URL", func(s stack.State) string { return s.AMQPURL })
	return e.required(v, err, "broker", "--amqp-url", "PULSE_AMQP_URL")
}

// OrdersURL returns the base URL of the orders service, or its default.
func (e *Env) OrdersURL() (string, error) {
	v, _, err := e.GivenOrdersURL()
	return v, err
}

// NotificationsURL returns the base URL of the notifications service, or its
// default.
func (e *Env) NotificationsURL() (string, error) {
	v, _, err := e.GivenNotificationsURL()
	return v, err
}

// GivenOrdersURL also reports whether the URL was set.
func (e *Env) GivenOrdersURL() (string, bool, error) {
	v, err := e.Setting(e.Flags.OrdersURL, "PULSE_ORDERS_URL", func(s stack.State) string { return s.OrdersURL })
	return cmp.Or(v, "http://127.0.0.1:6101"), v != "", err
}

// GivenNotificationsURL is GivenOrdersURL for the notifications service.
func (e *Env) GivenNotificationsURL() (string, bool, error) {
	v, err := e.Setting(e.Flags.NotificationsURL, "PULSE_NOTIFICATIONS_URL", func(s stack.State) string { return s.NotificationsURL })
	return cmp.Or(v, "http://127.0.0.1:6102"), v != "", err
}

// APIToken returns the bearer token for the services' APIs; empty: none.
func (e *Env) APIToken() (string, error) {
	if file := e.Flags.APITokenFile; file != "" {
		token, err := readSecret(file)
		if err != nil {
			return "", fail.New(fail.Usage, "", "--api-token-file: %v", err)
		}
		return token, nil
	}
	return e.Setting("", "PULSE_API_TOKEN", func(s stack.State) string { return s.APIToken })
}

// API returns a client of a service's API; what names it in messages.
func (e *Env) API(what, base string) (*api.Client, error) {
	token, err := e.APIToken()
	if err != nil {
		return nil, err
	}
	ca := e.Getenv("PULSE_API_CA_FILE")
	if s, err := e.Running(); err == nil && ca == "" && (base == s.OrdersURL || base == s.NotificationsURL) {
		ca = s.APICAFile
	}
	files := rabbit.TLSFiles{CA: ca, Cert: e.Getenv("PULSE_API_CERT_FILE"), Key: e.Getenv("PULSE_API_KEY_FILE")}
	config, err := files.Load()
	if err != nil {
		return nil, fail.Usagef("", "PULSE_API_CA_FILE, PULSE_API_CERT_FILE, PULSE_API_KEY_FILE: %v", err)
	}
	return api.New(what, base, api.Access{Token: token, TLS: config})
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
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	waitedFor := func() string { return "the " + what + " to answer" }
	if err := e.IO.Wait(ctx, waitedFor, func(io.Writer) error { return db.PingContext(ctx) }); err != nil {
		return nil, fail.CannotReach(what, errors.Join(err, db.Close()))
	}
	e.closers = append(e.closers, db.Close)
	return db, nil
}

// Publisher opens a publisher. It connects by itself; until then Publish waits.
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
		URL: url, GetURL: e.Rotated(e.Flags.AMQPURL, "PULSE_AMQP_URL"), GetTLS: files.Get(), Producer: "pulsectl", Logger: slog.New(slog.DiscardHandler), // its errors are returned by Publish
	})
	if err != nil {
		return nil, fail.Usagef("", "--amqp-url: %v", err)
	}
	e.closers = append(e.closers, p.Close)
	e.publisher = p
	return p, nil
}

// AMQPTLS returns the files that amqps:// needs besides the URL: a certificate
// authority, a client certificate. They are read at each connect, and once here
// to report a problem immediately.
func (e *Env) AMQPTLS() (rabbit.TLSFiles, error) {
	files := rabbit.TLSFiles{CA: e.Getenv("PULSE_AMQP_CA_FILE"), Cert: e.Getenv("PULSE_AMQP_CERT_FILE"), Key: e.Getenv("PULSE_AMQP_KEY_FILE")}
	if _, err := files.Load(); err != nil {
		return files, fail.Usagef("", "PULSE_AMQP_CA_FILE, PULSE_AMQP_CERT_FILE, PULSE_AMQP_KEY_FILE: %v", err)
	}
	return files, nil
}
