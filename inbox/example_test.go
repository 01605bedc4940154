package inbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
)

// notify is a handler: what it does through tx is applied once.
func notify(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
	var order struct {
		OrderID    string `json:"orderId"`
		CustomerID string `json:"customerId"`
	}
	if err := json.Unmarshal(msg.Payload, &order); err != nil {
		return inbox.DeadLetterFor(err, inbox.ReasonUndecodable)
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO notifications (event_id, order_id, customer_id) VALUES ($1, $2, $3)`,
		msg.ID, order.OrderID, order.CustomerID)
	return err
}

func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	db := sqlx.MustOpen("pgx", os.Getenv("PULSE_INBOX_DB"))
	defer db.Close()
	in, err := inbox.New(db, "notifications")
	if err != nil {
		slog.Error("inbox", "error", err)
		return
	}
	if _, err := in.Migrate(ctx); err != nil {
		slog.Error("migrate", "error", err)
		return
	}
	source, err := rabbitmq.NewSource(rabbitmq.SourceConfig{URL: os.Getenv("PULSE_AMQP_URL"), Queue: "order.created"})
	if err != nil {
		slog.Error("source", "error", err)
		return
	}
	defer source.Close()
	consumer, err := inbox.NewConsumer(in, source, notify, inbox.ConsumerConfig{})
	if err != nil {
		slog.Error("consumer", "error", err)
		return
	}
	if err := consumer.Run(ctx); err != nil {
		slog.Error("consumer", "error", err)
	}
}

// A webhook may be called twice for the same event as well.
func ExampleInbox_Once() {
	in, err := inbox.New(sqlx.MustOpen("pgx", os.Getenv("PULSE_INBOX_DB")), "payments-webhook")
	if err != nil {
		slog.Error("inbox", "error", err)
		return
	}
	http.HandleFunc("POST /webhooks/payments", func(w http.ResponseWriter, r *http.Request) {
		msg := inbox.Message{ID: r.Header.Get("Webhook-Id"), Topic: "payment.received"}
		outcome, err := in.Once(r.Context(), msg, func(ctx context.Context, tx inbox.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE accounts SET balance = balance + 10 WHERE id = 1`)
			return err
		})
		switch {
		case errors.Is(err, inbox.ErrInvalidMessage):
			http.Error(w, err.Error(), http.StatusBadRequest)
		case err != nil:
			http.Error(w, "try again", http.StatusServiceUnavailable)
		default:
			slog.InfoContext(r.Context(), "payment", "outcome", outcome) // processed or duplicate
		}
	})
}

// A handler that begins its own transaction claims in it before anything else,
// returns errors as they are, and nil only after the commit. With GORM the
// transaction is tx.Statement.ConnPool.
func ExampleNewConsumerFunc() {
	db := sqlx.MustOpen("pgx", os.Getenv("PULSE_INBOX_DB"))
	in, err := inbox.New(db, "notifications")
	if err != nil {
		slog.Error("inbox", "error", err)
		return
	}
	handle := func(ctx context.Context, msg inbox.Message) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err // while the database is away the message is held, and no attempt counted
		}
		defer tx.Rollback()
		fresh, err := in.Claim(ctx, tx, msg)
		if err != nil || !fresh {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO notifications (event_id) VALUES ($1)`, msg.ID); err != nil {
			return err
		}
		return tx.Commit()
	}
	source, err := rabbitmq.NewSource(rabbitmq.SourceConfig{URL: os.Getenv("PULSE_AMQP_URL"), Queue: "order.created"})
	if err != nil {
		slog.Error("source", "error", err)
		return
	}
	defer source.Close()
	consumer, err := inbox.NewConsumerFunc(source, handle, inbox.ConsumerConfig{Inbox: in, Workers: 8})
	if err != nil {
		slog.Error("consumer", "error", err)
		return
	}
	if err := consumer.Run(context.Background()); err != nil {
		slog.Error("consumer", "error", err)
	}
}

var (
	errTooManyRequests = errors.New("mail service: too many requests")
	errNegativeAmount  = errors.New("amount is negative")
)

// A service that says when to come back is asked then.
func ExampleRetry() {
	handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		err := sendMail(ctx, msg)
		if errors.Is(err, errTooManyRequests) {
			return inbox.Retry(err, 30*time.Second)
		}
		return err
	}
	_ = inbox.Handler(handler)
}

// What no attempt can cure goes to the dead letters at once, with its reason.
func ExampleDeadLetterFor() {
	handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		var order struct{ Amount float64 }
		if err := json.Unmarshal(msg.Payload, &order); err != nil {
			return inbox.DeadLetterFor(err, inbox.ReasonUndecodable)
		}
		if order.Amount < 0 {
			return inbox.DeadLetterFor(errNegativeAmount, inbox.ReasonContract)
		}
		return sendMail(ctx, msg)
	}
	_ = inbox.Handler(handler)
}

// sendMail uses the event id as the mail service's idempotency key, because a
// mail is no part of the transaction.
func sendMail(ctx context.Context, msg inbox.Message) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://mail.example/send", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Idempotency-Key", msg.ID)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusTooManyRequests {
		return errTooManyRequests
	}
	return nil
}

// OrderCreated is the payload of the events of that type.
type OrderCreated struct {
	OrderID    string `json:"orderId"`
	CustomerID string `json:"customerId"`
}

// A consumer of several types of events: each has its handler, which gets the
// decoded payload.
func ExampleMux() {
	logged := func(next inbox.Handler) inbox.Handler {
		return func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
			began := time.Now()
			err := next(ctx, tx, msg)
			slog.DebugContext(ctx, "handled", "type", msg.Type, "duration", time.Since(began), "error", err)
			return err
		}
	}
	mux := inbox.NewMux(inbox.MuxConfig{})
	mux.Use(logged)
	mux.HandleType("OrderCreated", inbox.JSON(func(ctx context.Context, tx inbox.Tx, msg inbox.Message, event OrderCreated) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO notifications (event_id, order_id, customer_id) VALUES ($1, $2, $3)`,
			msg.ID, event.OrderID, event.CustomerID)
		return err
	}))
	mux.HandleTopic("payment.#", func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO audit (event_id, topic) VALUES ($1, $2)`, msg.ID, msg.Topic)
		return err
	}, inbox.RouteConfig{MaxAttempts: 3, Timeout: 5 * time.Second})

	var (
		in     *inbox.Inbox // see the package's example
		source inbox.Source
	)
	consumer, err := inbox.NewConsumer(in, source, mux.Handle, inbox.ConsumerConfig{})
	if err != nil {
		slog.Error("consumer", "error", err)
		return
	}
	if err := consumer.Run(context.Background()); err != nil {
		slog.Error("consumer", "error", err)
	}
}
