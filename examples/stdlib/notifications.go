package stdlib

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/asimalizada/pulse-events/examples/contracts"
	"github.com/asimalizada/pulse-events/examples/internal/service"
	"github.com/asimalizada/pulse-events/examples/notifications"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/pending"
)

const (
	notificationsService     = "notifications"
	defaultNotificationsAddr = "127.0.0.1:6102"
)

// NotificationsConfig are the settings of the notifications service.
type NotificationsConfig struct {
	Settings
	// Queue that is consumed, bound to the topic order.created. Defaults to
	// order.created.
	Queue string
	// RetryDelays are the delays of the queue's retry queues. Defaults to
	// those of inbox/rabbitmq.
	RetryDelays []time.Duration
	// Consumer settings. Its logger defaults to that of Settings.
	Consumer inbox.ConsumerConfig
	// Around, if set, gets the handler and returns the one that is used, which
	// may do something before and after, or instead.
	Around func(inbox.Handler) inbox.Handler
}

// Notifications is the notifications service: it applies each OrderCreated
// once, as a notification, and shows notifications by HTTP. It serves while
// the broker is away.
type Notifications struct {
	cfg      NotificationsConfig
	log      *slog.Logger
	db       *store
	source   *rabbitmq.Source
	reads    rabbitmq.SourceConfig // by the source
	check    pending.Check         // what the consumer would say
	consumer *inbox.Consumer
	server   *service.Server
	health   http.Handler
	handler  http.Handler
}

// NewNotifications checks cfg, naming all problems at once, and builds the
// service. Neither database nor broker has to be there yet. The caller ends
// it with Run or Close.
func NewNotifications(cfg NotificationsConfig) (_ *Notifications, err error) {
	if cfg.Settings, err = service.Complete(cfg.Settings, notificationsService, defaultNotificationsAddr); err != nil {
		return nil, err
	}
	if cfg.Queue == "" {
		cfg.Queue = notifications.OrderCreatedTopic
	}
	s := &Notifications{cfg: cfg, log: cfg.Logger.With("service", notificationsService)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", notificationsService, err), s.Close())
		}
	}()
	if s.db, err = openStore(cfg.Settings, notificationsService); err != nil {
		return nil, err
	}
	in, err := inbox.New(s.db.DB, notificationsService, inbox.WithDialect(inbox.Dialect(s.db.Dialect)))
	if err != nil {
		return nil, err
	}
	s.db.Own(notifications.Schema(s.db.Dialect), "notifications")
	s.db.Require(service.Steps(in.Migrate), in.CheckSchema)
	s.reads = rabbitmq.SourceConfig{
		URL: cfg.AMQPURL, GetURL: cfg.GetAMQPURL, TLS: cfg.AMQPTLS, GetTLS: cfg.GetAMQPTLS, Exchange: cfg.Exchange, Queue: cfg.Queue,
		Topics: []string{notifications.OrderCreatedTopic}, RetryDelays: cfg.RetryDelays, Topology: rabbitmq.Topology(cfg.Topology),
		Consumer: notificationsService, Logger: s.log,
	}
	if s.source, err = rabbitmq.NewSource(s.reads); err != nil {
		return nil, err
	}
	events, err := contracts.Load()
	if err != nil {
		return nil, err
	}
	cfg.Consumer.Contracts = events.Consumer()
	s.check = notifications.Check(cfg.Consumer)
	if cfg.Consumer.Logger == nil {
		cfg.Consumer.Logger = s.log
	}
	handler := inbox.Handler(s.apply)
	if cfg.Around != nil {
		handler = cfg.Around(handler)
	}
	if s.consumer, err = inbox.NewConsumer(in, s.source, handler, cfg.Consumer); err != nil {
		return nil, err
	}
	s.server = service.NewServer(cfg.Settings, s.log, s.db.Database)
	s.health = inbox.HealthHandler(inbox.HealthConfig{
		Service: notificationsService, Inbox: in, Consumer: s.consumer.Health, Source: s.source.Health,
		Ready: s.server.Ready, Logger: s.log,
	})
	s.handler = observe(s.log, s.server.Guard(), newMux(s.log, s.routes()))
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
	if err := s.server.Run(ctx, ln, s.handler, s.consumer.Run); err != nil {
		return fmt.Errorf("%s: %w", notificationsService, err)
	}
	return nil
}

// Pending lists the messages that wait for this service, in its queue, for a retry or as
// dead letters, and that it would dead-letter: to be asked before this version of it is
// deployed, in place of Run. Nothing is consumed or changed.
func (s *Notifications) Pending(ctx context.Context) (report pending.Report, err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	return notifications.Pending(ctx, s.reads, s.check)
}

// Close releases what the service holds. Only for a service that is not
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

// apply stores the notification an event calls for. The inbox lets each event
// in once, and commits its mark together with this insert or not at all.
func (s *Notifications) apply(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
	event, err := notifications.DecodeOrderCreated(msg)
	if err != nil {
		return err
	}
	n := notifications.For(event)
	_, err = tx.ExecContext(ctx, s.db.queries.Get("insert_notification"),
		n.ID, n.OrderID, n.EventID, n.CustomerID, n.Amount, n.CorrelationID)
	if err != nil {
		return fmt.Errorf("insert the notification: %w", err)
	}
	s.log.InfoContext(ctx, "notifying the customer", "event_id", n.EventID, "order_id", n.OrderID, "attempt", msg.Attempt)
	return nil
}
