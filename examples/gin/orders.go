package gin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/asimalizada/pulse-events/examples/contracts"
	"github.com/asimalizada/pulse-events/examples/internal/service"
	"github.com/asimalizada/pulse-events/examples/orders"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

const (
	ordersService     = "orders"
	defaultOrdersAddr = "127.0.0.1:6201"
)

// OrdersConfig are the settings of the orders service.
type OrdersConfig struct {
	Settings
	// Relay settings. Its logger defaults to that of Settings.
	Relay outbox.RelayConfig
}

// Orders is the orders service: it takes orders by HTTP, stores each with its
// event in one transaction, and relays the events to RabbitMQ. It serves
// while the broker is away.
type Orders struct {
	cfg       OrdersConfig
	log       *slog.Logger
	db        *store
	outbox    *outbox.Outbox
	publisher *rabbitmq.Publisher
	relay     *outbox.Relay
	server    *service.Server
	health    http.Handler
	handler   http.Handler
}

// NewOrders checks cfg, naming all problems at once, and builds the service.
// Neither database nor broker has to be there yet. The caller ends it with
// Run or Close.
func NewOrders(cfg OrdersConfig) (_ *Orders, err error) {
	if cfg.Settings, err = service.Complete(cfg.Settings, ordersService, defaultOrdersAddr); err != nil {
		return nil, err
	}
	s := &Orders{cfg: cfg, log: cfg.Logger.With("service", ordersService)}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", ordersService, err), s.Close())
		}
	}()
	if s.db, err = openStore(cfg.Settings, ordersService, s.log); err != nil {
		return nil, err
	}
	events, err := contracts.Load()
	if err != nil {
		return nil, err
	}
	s.outbox, err = outbox.New(s.db.DB, outbox.WithDialect(s.db.Dialect), outbox.WithContracts(events.Producer()))
	if err != nil {
		return nil, err
	}
	s.db.Own(orders.Schema(s.db.Dialect), "orders", "idempotency_keys")
	s.db.Require(service.Steps(s.outbox.Migrate), s.outbox.CheckSchema)
	s.publisher, err = rabbitmq.NewPublisher(rabbitmq.PublisherConfig{
		URL: cfg.AMQPURL, GetURL: cfg.GetAMQPURL, TLS: cfg.AMQPTLS, GetTLS: cfg.GetAMQPTLS, Exchange: cfg.Exchange, Topology: cfg.Topology,
		Audiences: cfg.Audiences, ManagementURL: cfg.ManagementURL, GetManagementURL: cfg.GetManagementURL,
		Producer: ordersService, Logger: s.log,
	})
	if err != nil {
		return nil, err
	}
	if cfg.Relay.Logger == nil {
		cfg.Relay.Logger = s.log
	}
	if s.relay, err = outbox.NewRelay(s.outbox, s.publisher, cfg.Relay); err != nil {
		return nil, err
	}
	s.server = service.NewServer(cfg.Settings, s.log, s.db.Database)
	s.health = outbox.HealthHandler(outbox.HealthConfig{
		Service: ordersService, Outbox: s.outbox, Relay: s.relay.Health, Publisher: s.publisher.Health,
		Ready: s.server.Ready, Logger: s.log,
	})
	s.handler = newEngine(s.log, s.server.Guard(), s.routes())
	return s, nil
}

// Handler serves the API. It needs the schema, which Run brings, and no relay.
func (s *Orders) Handler() http.Handler { return s.handler }

// Run migrates, then serves the API on ln and relays events until ctx ends
// and requests in flight are answered. With a nil ln it listens on the
// configured address. It returns nil after ctx has ended, and closes ln and
// the service in every case; nothing of it runs on.
func (s *Orders) Run(ctx context.Context, ln net.Listener) (err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.server.Run(ctx, ln, s.handler, s.relay.Run); err != nil {
		return fmt.Errorf("%s: %w", ordersService, err)
	}
	return nil
}

// Close releases what the service holds. Only for a service that is not
// run: Run does it itself.
func (s *Orders) Close() (err error) {
	if s.publisher != nil {
		err = s.publisher.Close()
	}
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
	}
	return err
}

// place stores the order and its event: both or neither. Under a key that was
// used before it stores nothing and returns the receipt of then; the error
// matches orders.ErrKeyReused if that was for another order.
func (s *Orders) place(ctx context.Context, draft orders.Draft, key string) (receipt orders.Receipt, replayed bool, err error) {
	ctx, cancel := s.db.Limit(ctx)
	defer cancel()
	order := orders.Place(draft, outbox.CorrelationID(ctx))
	event, err := order.Created()
	if err != nil {
		return orders.Receipt{}, false, err
	}
	receipt = order.Receipt()
	err = s.db.orm.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if key != "" {
			first, err := claimKey(tx, order.Under(key))
			if err != nil {
				return err
			}
			if first != nil {
				replayed = true
				receipt, err = first.Again(draft)
				return err
			}
		}
		if err := tx.Create(newOrderRow(order)).Error; err != nil {
			return fmt.Errorf("insert the order: %w", err)
		}
		// The *sql.Tx of this GORM transaction: the event commits with the order.
		return s.outbox.Enqueue(ctx, tx.Statement.ConnPool, event)
	})
	if err != nil {
		return orders.Receipt{}, false, err
	}
	s.relay.Wake()
	return receipt, replayed, nil
}

// claimKey notes the answer under its key, or returns what was answered under
// that key before. While another transaction is taking the key it waits.
func claimKey(tx *gorm.DB, answer orders.Answered) (first *orders.Answered, err error) {
	takenAlready := clause.OnConflict{Columns: []clause.Column{{Name: "key"}}, DoNothing: true}
	result := tx.Clauses(takenAlready).Create(newKeyRow(answer))
	if result.Error != nil {
		return nil, fmt.Errorf("insert the idempotency key: %w", result.Error)
	}
	if result.RowsAffected == 1 {
		return nil, nil
	}
	var row keyRow
	if err := tx.Where("key = ?", answer.Key).Take(&row).Error; err != nil {
		return nil, fmt.Errorf("read the idempotency key: %w", err)
	}
	answered := row.answered()
	return &answered, nil
}
