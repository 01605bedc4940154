package rabbitmq_test

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox/wire/cloudevents"
	"github.com/asimalizada/pulse-events/outbox/wire/nestjs"
)

// A service that notifies customers of their orders, each once.
func Example() {
	db := sqlx.MustConnect("pgx", os.Getenv("PULSE_INBOX_DB"))
	in, err := inbox.New(db, "notifications")
	if err != nil {
		slog.Error("inbox", "error", err)
		return
	}
	source, err := rabbitmq.NewSource(rabbitmq.SourceConfig{
		URL:         os.Getenv("PULSE_AMQP_URL"),
		Queue:       "order.created",
		RetryDelays: []time.Duration{time.Second, time.Minute},
		Consumer:    "notifications",
	})
	if err != nil {
		slog.Error("source", "error", err)
		return
	}
	defer source.Close()

	notify := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO notifications (event_id, body) VALUES ($1, $2)", msg.ID, string(msg.Payload))
		return err
	}
	consumer, err := inbox.NewConsumer(in, source, notify, inbox.ConsumerConfig{})
	if err != nil {
		slog.Error("consumer", "error", err)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := consumer.Run(ctx); err != nil {
		slog.Error("consumer", "error", err)
	}
}

// A source of events in the format of CloudEvents, and of NestJS services, which
// send an id in the payload.
func ExampleDecode() {
	source, err := rabbitmq.NewSource(rabbitmq.SourceConfig{
		URL:   "amqp://guest:guest@localhost:5672/",
		Queue: "stock.changed",
		Interpret: []rabbitmq.Interpreter{
			rabbitmq.Decode(cloudevents.Codec{}),
			rabbitmq.Decode(nestjs.Codec{}),
			rabbitmq.IDFromJSON("id"),
		},
	})
	if err != nil {
		slog.Error("source", "error", err)
		return
	}
	defer source.Close()
}

// A source on an exchange that exists already: of type headers, routed by a
// region, and with a queue that refuses messages beyond a number.
func ExampleSourceConfig_routing() {
	source, err := rabbitmq.NewSource(rabbitmq.SourceConfig{
		URL:            "amqp://guest:guest@localhost:5672/",
		Queue:          "order.created",
		Exchange:       "company.events",
		ExchangeType:   "headers",
		MatchHeaders:   []map[string]any{{"region": "eu", "version": 2}},
		QueueArguments: map[string]any{"x-max-length": 1_000_000},
	})
	if err != nil {
		slog.Error("source", "error", err)
		return
	}
	defer source.Close()
}

// How many messages wait, how many were dead-lettered, and which.
func ExampleInspector() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	inspector, err := rabbitmq.OpenInspector(ctx, rabbitmq.SourceConfig{
		URL:   os.Getenv("PULSE_AMQP_URL"),
		Queue: "order.created",
	})
	if err != nil {
		slog.Error("inspector", "error", err)
		return
	}
	defer inspector.Close()
	depths, err := inspector.Depths(ctx)
	if err != nil {
		slog.Error("depths", "error", err)
		return
	}
	ids, err := inspector.DeadLetterIDs(ctx, 100)
	if err != nil {
		slog.Error("dead letters", "error", err)
		return
	}
	slog.Info("order.created", "ready", depths.Ready, "retrying", depths.Retrying, "dead", depths.DeadLettered, "ids", ids)
}
