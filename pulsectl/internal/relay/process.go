// Package relay runs a relay as a process of its own, beside producers in any
// language that insert rows into outbox_messages by SQL.
package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
	"golang.org/x/sync/errgroup"

	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/postgres"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Config holds the settings of a process. DatabaseURL, Publisher.URL and Logger
// are required.
type Config struct {
	// DatabaseURL of the outbox. GetDatabaseURL, if set, is asked for it again at
	// each connect.
	DatabaseURL    string
	GetDatabaseURL func(context.Context) (string, error)
	// SessionName is the application name of the sessions in PostgreSQL. Defaults to
	// "pulsectl relay".
	SessionName string
	// Publisher names the broker, and how messages are published.
	Publisher outboxrabbit.PublisherConfig
	// Relay is how the outbox is read. The producer is that of Publisher.
	Relay outbox.RelayConfig
	// NotifyChannel, if set, is where producers in other processes say by NOTIFY that they
	// have committed; see postgres.Notifier. It needs PostgreSQL, reached without a
	// pooler.
	NotifyChannel string
	// AnyPayload also publishes payloads that are not what their content type
	// says. Otherwise a message whose content type is JSON, and whose payload is
	// not, is dead.
	AnyPayload bool
	// HealthAddr is where health is served, as host:port. Empty: nowhere.
	HealthAddr string
	// StartTimeout is how long to wait at the start for a database that does not
	// answer, or refuses the role; 0: without end.
	StartTimeout time.Duration
	Logger       *slog.Logger
}

// Process is a relay with what it needs.
type Process struct {
	cfg       Config
	log       *slog.Logger
	db        *sqlx.DB
	outbox    *outbox.Outbox
	publisher *outboxrabbit.Publisher
	relay     *outbox.Relay
	listener  *postgres.Listener // nil: without a NotifyChannel
	draining  atomic.Bool
}

const (
	// besideLanes are connections of the relay's other goroutines, and one for
	// health.
	besideLanes = 5
	// leastPool serves the default number of lanes amply.
	leastPool = 16
)

// New checks cfg and builds a process, which the caller closes. Neither database
// nor broker has to be there yet. The error holds no secret.
func New(cfg Config) (_ *Process, err error) {
	p := &Process{cfg: cfg, log: cfg.Logger}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	p.db, _, err = database.Config{
		URL: cfg.DatabaseURL, GetURL: cfg.GetDatabaseURL, Name: cmp.Or(cfg.SessionName, "pulsectl relay"), MaxConns: max(leastPool, cfg.Relay.Lanes+besideLanes),
	}.Open()
	if err != nil {
		err = fmt.Errorf("outbox database: %w", err)
	} else if p.outbox, err = outbox.New(p.db); err != nil {
		return nil, err
	} else if cfg.NotifyChannel != "" {
		p.listener, err = newListener(cfg)
	}
	if !cfg.AnyPayload {
		cfg.Publisher.Codec = checkedJSON{cfg.Publisher.Codec}
	}
	cfg.Publisher.Logger, cfg.Relay.Logger = cfg.Logger, cfg.Logger
	var publisherErr error
	p.publisher, publisherErr = outboxrabbit.NewPublisher(cfg.Publisher)
	if err := errors.Join(err, publisherErr); err != nil {
		return nil, err
	}
	if p.relay, err = outbox.NewRelay(p.outbox, p.publisher, cfg.Relay); err != nil {
		return nil, err
	}
	return p, nil
}

func newListener(cfg Config) (*postgres.Listener, error) {
	if sqlite.IsURL(cfg.DatabaseURL) {
		return nil, errors.New("NotifyChannel: SQLite has no notifications; leave it out")
	}
	return postgres.NewListener(postgres.ListenerConfig{
		Config:  postgres.Config{URL: cfg.DatabaseURL, GetURL: cfg.GetDatabaseURL, Name: cmp.Or(cfg.SessionName, "pulsectl relay") + " listener"},
		Channel: cfg.NotifyChannel, Logger: cfg.Logger,
	})
}

// Close releases what the process holds. It is called after Run.
func (p *Process) Close() (err error) {
	if p.publisher != nil {
		err = p.publisher.Close()
	}
	if p.db != nil {
		// A connection that was lost before is no failure of this.
		if closed := p.db.Close(); !outbox.IsDatabaseUnavailable(closed) {
			err = errors.Join(err, closed)
		}
	}
	return err
}

// Run publishes messages until ctx ends, and then finishes those that are being
// published. It returns nil if all of that went well, also if ctx has ended
// before it began. A schema that is missing or behind is an error that matches
// outbox.ErrSchema; one of Kind Unreachable says that the database did not
// answer in time, or refused the role for as long.
func (p *Process) Run(ctx context.Context) error {
	server, err := p.listen()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	ended := make(chan struct{}) // the relay has
	group.Go(func() error {
		defer close(ended)
		if err := p.awaitSchema(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		return p.publish(ctx)
	})
	if server != nil {
		group.Go(func() error { return server.serve(ended) })
	}
	return group.Wait()
}

// publish runs the relay and says in the end what it has done.
func (p *Process) publish(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { p.draining.Store(true) })
	defer stop()
	var listening sync.WaitGroup
	if p.listener != nil {
		listening.Go(func() { _ = p.listener.Run(ctx, p.relay.Wake) }) // it never fails
	}
	err := p.relay.Run(ctx)
	listening.Wait()
	h := p.relay.Health()
	p.log.Info("relay has stopped", "published", h.Published, "failed", h.Failed, "dead", h.Dead, "fenced", h.Fenced)
	return err
}

// retryPause is the time between two attempts to reach the database at the start.
const retryPause = 500 * time.Millisecond

// checkLimit bounds one attempt.
const checkLimit = 10 * time.Second

// awaitSchema returns nil once the schema is there and up to date, or when ctx
// has ended. It waits as a relay that runs does: for a database that does not
// answer, and for one that refuses the role, as a new password may come late. A
// file that cannot be opened does not mend itself.
func (p *Process) awaitSchema(ctx context.Context) error {
	began, told := time.Now(), ""
	for {
		err := p.checkSchema(ctx)
		switch {
		case err == nil, ctx.Err() != nil:
			return nil
		case errors.Is(err, outbox.ErrSchema):
			return fail.Wrap("cannot use the outbox", err)
		}
		why := ""
		switch {
		case outbox.IsDatabaseUnanswered(err):
			why = "no answer"
		case sqldb.Judge(err) == sqldb.Refused && !sqlite.IsURL(p.cfg.DatabaseURL):
			why = "access refused"
		default:
			return fail.CannotReach("outbox database", err)
		}
		if p.cfg.StartTimeout > 0 && time.Since(began) >= p.cfg.StartTimeout {
			return fail.CannotReach("outbox database", fmt.Errorf("%s for %v: %w", why, p.cfg.StartTimeout, err))
		}
		if told != why {
			p.log.WarnContext(ctx, "waiting for the database", "why", why, "error", err)
			told = why
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryPause):
		}
	}
}

func (p *Process) checkSchema(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	return p.outbox.CheckSchema(ctx)
}
