// Package process has the programs that a chaos run puts under fire, each a
// process of its own, so that kill -9 and SIGSTOP are what they are: the service
// that takes orders, the relay, the consumer, and a broker. Service and consumer are
// written as users write theirs, with the public API alone.
package process

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/logging"
	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/relay"
)

// Variable is the environment variable that holds the Config of a process, as
// JSON. It has passwords, which do not belong on a command line.
const Variable = "PULSE_CHAOS_PROCESS"

// Role is what a process does.
type Role string

// The roles.
const (
	Service  Role = "service"
	Relay    Role = "relay"
	Consumer Role = "consumer"
	Broker   Role = "broker"
)

// Config says what a process does, and with which servers.
type Config struct {
	Role     Role
	Database string // URL; the service's and the relay's, or the consumer's
	Broker   string // URL
	Session  string // name of the sessions in PostgreSQL
	Exchange string
	Queue    string // that the consumer consumes
	Classic  bool   // the queues are classic
	DataDir  string // of a broker
}

// Ready is what a process says on its standard output once it serves, or, if it
// serves nothing, once it can be told to end.
type Ready struct {
	URL          string `json:",omitempty"` // of the service, or of the broker
	ControlURL   string `json:",omitempty"` // of a broker, see package control
	ControlToken string `json:",omitempty"`
	// ManagementURL is that of a broker's management API.
	ManagementURL string `json:",omitempty"`
}

// The events of a run.
const (
	PlacedTopic  = "order.placed"
	HandledTopic = "order.handled"
	// ConsumerName is the consumer's name in the inbox.
	ConsumerName = "chaos"
)

// Names of producers.
const (
	ordersProducer  = "chaos-orders"
	handledProducer = "chaos-consumer"
)

const (
	// leaseTTL is short, so that relays take over often.
	leaseTTL = 2 * time.Second
	// sweepInterval and failBackoff keep a run short.
	sweepInterval = time.Second
	failBackoff   = 300 * time.Millisecond
	// crashLimit: messages are redelivered by kill -9 here more often than by
	// handlers that take the process down.
	crashLimit = 1000
)

// retryDelays are those of the consumer's retry queues.
var retryDelays = []time.Duration{500 * time.Millisecond, 2 * time.Second}

// Run does what the environment variable says, until ctx ends or stdin does: the
// end of stdin is that of the parent.
func Run(ctx context.Context, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) error {
	var c Config
	if err := json.Unmarshal([]byte(getenv(Variable)), &c); err != nil {
		return fmt.Errorf("%s: %w", Variable, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The goroutine may outlive Run: a read of stdin cannot be interrupted. The
	// process ends then.
	go func() {
		_, _ = io.Copy(io.Discard, bufio.NewReader(stdin))
		cancel()
	}()
	log := logging.New(stderr, logging.JSON, slog.LevelInfo).With("role", c.Role, "pid", os.Getpid())
	ready := func(r Ready) error { return json.NewEncoder(stdout).Encode(r) }
	switch c.Role {
	case Service:
		return c.serve(ctx, log, ready)
	case Relay:
		return errors.Join(ready(Ready{}), c.relay(ctx, log))
	case Consumer:
		return errors.Join(ready(Ready{}), c.consume(ctx, log))
	case Broker:
		return c.broker(ctx, log, ready)
	}
	return fmt.Errorf("%s: there is no role %q", Variable, c.Role)
}

// relay is what "pulsectl relay run" is.
func (c Config) relay(ctx context.Context, log *slog.Logger) (err error) {
	p, err := relay.New(relay.Config{
		DatabaseURL: c.Database, SessionName: c.Session, Publisher: c.publisher(ordersProducer, log), Relay: relayConfig(log), Logger: log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	return p.Run(ctx)
}

// database opens the process's database, with as many connections as it needs.
func (c Config) database(conns int) (*sqlx.DB, error) {
	db, _, err := database.Config{URL: c.Database, Name: c.Session, MaxConns: conns}.Open()
	return db, err
}

func (c Config) publisher(producer string, log *slog.Logger) outboxrabbit.PublisherConfig {
	return outboxrabbit.PublisherConfig{
		URL: c.Broker, Exchange: c.Exchange, Producer: producer, Logger: log,
		ConfirmTimeout: 5 * time.Second, Heartbeat: 2 * time.Second,
	}
}

func relayConfig(log *slog.Logger) outbox.RelayConfig {
	return outbox.RelayConfig{
		LeaseTTL: leaseTTL, SweepInterval: sweepInterval, Retention: outbox.KeepForever,
		Backoff: func(int) time.Duration { return failBackoff }, Logger: log,
	}
}

// SourceConfig returns the consumer's queues, of this broker.
func (c Config) SourceConfig(log *slog.Logger) inboxrabbit.SourceConfig {
	source := inboxrabbit.SourceConfig{
		URL: c.Broker, Exchange: c.Exchange, Queue: c.Queue, Topics: []string{PlacedTopic}, RetryDelays: retryDelays,
		Consumer: ConsumerName, Heartbeat: 2 * time.Second, Logger: cmp.Or(log, slog.New(slog.DiscardHandler)),
	}
	if c.Classic {
		source.QueueType = inboxrabbit.Classic
	}
	return source
}

func consumerConfig(log *slog.Logger) inbox.ConsumerConfig {
	return inbox.ConsumerConfig{
		Retention: inbox.KeepForever, MaxAttempts: inbox.Unlimited, CrashLimit: crashLimit,
		Backoff: func(int) time.Duration { return retryDelays[0] }, Logger: log,
	}
}
