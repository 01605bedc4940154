package gin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"gorm.io/gorm"

	"github.com/asimalizada/pulse-events/examples/internal/service"
	"github.com/asimalizada/pulse-events/examples/notifications"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
)

const (
	notificationsService     = "notifications"
	defaultNotificationsAddr = "127.0.0.1:6202"
)

// What the consumer would do for itself if the inbox were its own.
const (
	defaultRetention     = 30 * 24 * time.Hour
	defaultPurgeInterval = 10 * time.Minute
)

// NotificationsConfig are the settings of the notifications service.
type NotificationsConfig struct {
	Settings
	// Queue that is consumed, bound to the topic order.created. Defaults to
	// order.created.
	Queue string
	// RetryDelays are the steps of the queue's retry ladder. Defaults to
	// those of inbox/rabbitmq.
	RetryDelays []time.Duration
	// Consumer settings. Its logger defaults to that of Settings. Messages are
	// handled one by one, so BatchSize is 1, and CrashLimit has no effect.
	Consumer inbox.ConsumerConfig
}

// Notifications is the notifications service: it applies each OrderCreated
// once, as a notification, and shows notifications by HTTP. It serves while
// the broker is away.
type Notifications struct {
	cfg        NotificationsConfig
	log        *slog.Logger
	db         *store
	inbox      *inbox.Inbox
	source     *rabbitmq.Source
	consumer   *inbox.Consumer
	duplicates atomic.Int64 // messages that were applied before
	server     *service.Server
	health     http.Handler
	handler    http.Handler
}

// NewNotifications checks cfg, naming all problems at once, and builds the
// service. Neither database nor broker has to be there yet. The caller ends
// it with Run or Close.
func NewNotifications(cfg NotificationsConfig) (_ *Notifications, err error) {
	if cfg.Settings, err = service.Complete(cfg.Settings, notificationsService, defaultNotificationsAddr); err != nil {
		return nil, err
	}
	cfg.Queue = cmp.Or(cfg.Queue, notifications.OrderCreatedTopic)
	cfg.Consumer.Retention = cmp.Or(cfg.Consumer.Retention, defaultRetention)
	cfg.Consumer.PurgeInterval = cmp.Or(cfg.Consumer.PurgeInterval, defaultPurgeInterval)
	s := &Notifications{cfg: cfg, log: cfg.Logger.With("service", notificationsService)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", notificationsService, err), s.Close())
		}
	}()
	if s.db, err = openStore(cfg.Settings, notificationsService, s.log); err != nil {
		return nil, err
	}
	if s.inbox, err = inbox.New(s.db.DB, notificationsService, inbox.WithDialect(inbox.Dialect(s.db.Dialect))); err != nil {
		return nil, err
	}
	s.db.Own(notifications.Schema(s.db.Dialect), "notifications")
	s.db.Require(service.Steps(s.inbox.Migrate), s.inbox.CheckSchema)
	s.source, err = rabbitmq.NewSource(rabbitmq.SourceConfig{
		URL: cfg.AMQPURL, GetURL: cfg.GetAMQPURL, TLS: cfg.AMQPTLS, GetTLS: cfg.GetAMQPTLS, Exchange: cfg.Exchange, Queue: cfg.Queue,
		Topics: []string{notifications.OrderCreatedTopic}, RetryDelays: cfg.RetryDelays,
		Consumer: notificationsService, Logger: s.log,
	})
	if err != nil {
		return nil, err
	}
	if cfg.Consumer.Logger == nil {
		cfg.Consumer.Logger = s.log
	}
	cfg.Consumer.ReportTo = s.inbox
	if s.consumer, err = inbox.NewConsumerFunc(s.source, s.apply, cfg.Consumer); err != nil {
		return nil, err
	}
	s.server = service.NewServer(cfg.Settings, s.log, s.db.Database)
	s.health = inbox.HealthHandler(inbox.HealthConfig{
		Service: notificationsService, Inbox: s.inbox, Consumer: s.consumerHealth, Source: s.source.Health,
		Ready: s.server.Ready, Logger: s.log,
	})
	s.handler = newEngine(s.log, s.routes())
	return s, nil
}

// Handler serves the API. It needs the schema, which Run brings, and no
// consumer.
func (s *Notifications) Handler() http.Handler { return s.handler }

// Run migrates, then serves the API on ln and consumes events until ctx ends
// and what is in flight is finished. With a nil ln it listens on the
// configured address. It returns nil after ctx has ended, and closes ln and
// the service in every case; nothing of it runs on.
func (s *Notifications) Run(ctx context.Context, ln net.Listener) (err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.server.Run(ctx, ln, s.handler, s.consume); err != nil {
		return fmt.Errorf("%s: %w", notificationsService, err)
	}
	return nil
}

// Close gives back what the service holds. Only for a service that is not
// run: Run does it itself.
func (s *Notifications) Close() (err error) {
	if s.source != nil {
		err = s.source.Close()
	}
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
	}
	return err
}

// consume runs the consumer, and forgets beside it what was applied long ago.
func (s *Notifications) consume(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.consumer.Run(ctx) })
	group.Go(func() error { s.purge(ctx); return nil })
	return group.Wait()
}

// purge does what a consumer does whose inbox is its own.
func (s *Notifications) purge(ctx context.Context) {
	if s.cfg.Consumer.Retention == inbox.KeepForever {
		return
	}
	tick := time.NewTicker(s.cfg.Consumer.PurgeInterval)
	defer tick.Stop()
	for {
		if _, err := s.inbox.Purge(ctx, s.cfg.Consumer.Retention); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "purge failed; the next one makes up for it", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// apply stores the notification an event calls for. The claim lets each event
// in once, and commits together with the notification or not at all. nil
// acknowledges the message, so it is the answer only after the commit.
func (s *Notifications) apply(ctx context.Context, msg inbox.Message) error {
	fresh := false
	err := s.db.orm.WithContext(ctx).Transaction(func(tx *gorm.DB) (err error) {
		// The *sql.Tx of this GORM transaction.
		if fresh, err = s.inbox.Claim(ctx, tx.Statement.ConnPool, msg); err != nil || !fresh {
			return err
		}
		event, err := notifications.DecodeOrderCreated(msg)
		if err != nil {
			return err
		}
		n := notifications.For(event)
		if err := tx.Create(newNotificationRow(n)).Error; err != nil {
			return fmt.Errorf("insert the notification: %w", err)
		}
		s.log.InfoContext(ctx, "notifying the customer", "event_id", n.EventID, "order_id", n.OrderID, "attempt", msg.Attempt)
		return nil
	})
	_, dead := errors.AsType[*inbox.DeadLetterError](err)
	switch {
	case err == nil && !fresh:
		s.duplicates.Add(1)
	case err != nil && !dead && s.db.Away(ctx, err):
		return inbox.Unavailable(err) // every message would fail alike: hold them, count no attempt
	}
	// A deadlock and a serialization failure go back as they are: the consumer
	// runs such a message again at once.
	return err
}

// consumerHealth tells duplicates apart, which the consumer cannot when its handler
// claims for itself: to it they are messages handled like any other.
func (s *Notifications) consumerHealth() inbox.Health {
	h := s.consumer.Health()
	h.Duplicates = s.duplicates.Load()
	h.Applied = max(0, h.Applied-h.Duplicates) // the one being settled may be missing
	return h
}
