package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"golang.org/x/sync/errgroup"

	"github.com/asimalizada/pulse-events/outbox"
)

// Request is the body of POST /orders. The client chooses the id, so that it can
// be told later what has become of an order without an answer.
type Request struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	// Refuse rolls the transaction back when all is written, as a business rule
	// does that is checked last. The answer is 422.
	Refuse bool `json:"refuse,omitempty"`
}

// Placed is the payload of the event of an order.
type Placed struct {
	OrderID  string `json:"orderId"`
	Customer string `json:"customer"`
	N        int    `json:"n"`
}

const (
	// requestLimit bounds a request. SQLite waits up to ten seconds for its lock.
	requestLimit = 15 * time.Second
	stopLimit    = 5 * time.Second
	maxBody      = 64 << 10
)

// errRefused rolls an order back.
var errRefused = errors.New("refused")

// serve takes orders by HTTP, each stored with its event in one transaction.
func (c Config) serve(ctx context.Context, log *slog.Logger, ready func(Ready) error) (err error) {
	db, err := c.database(8)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ended(db.Close())) }()
	ob, err := outbox.New(db)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		var order Request
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&order); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		switch err := place(r.Context(), db, ob, order); {
		case err == nil:
			w.WriteHeader(http.StatusCreated)
		case errors.Is(err, errRefused):
			w.WriteHeader(http.StatusUnprocessableEntity)
		default:
			log.Warn("an order failed", "order", order.ID, "error", err)
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		}
	})
	server := &http.Server{Handler: mux, ReadTimeout: requestLimit, WriteTimeout: 2 * requestLimit, MaxHeaderBytes: 16 << 10}
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-running.Done()
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		return server.Shutdown(limit)
	})
	group.Go(func() error { return ready(Ready{URL: "http://" + listener.Addr().String()}) })
	return group.Wait()
}

// place stores an order with its event. The row of the customer is locked until
// the commit, so that the customer's orders are counted in the order of commits.
func place(ctx context.Context, db *sqlx.DB, ob *outbox.Outbox, r Request) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // without effect after a commit
	p := Placed{OrderID: r.ID, Customer: r.Customer}
	err = tx.GetContext(ctx, &p.N, `INSERT INTO chaos_customers AS c (id, n) VALUES ($1, 1)
		ON CONFLICT (id) DO UPDATE SET n = c.n + 1 RETURNING n`, r.Customer)
	if err != nil {
		return fmt.Errorf("count the customer's orders: %w", err)
	}
	payload, err := json.Marshal(p)
	if err != nil {
		return err
	}
	msg := outbox.NewMessage(PlacedTopic, payload)
	msg.Key = r.Customer
	_, err = tx.ExecContext(ctx, `INSERT INTO chaos_orders (id, event_id, customer, n) VALUES ($1, $2, $3, $4)`,
		r.ID, msg.ID.String(), r.Customer, p.N)
	if err != nil {
		return fmt.Errorf("insert the order: %w", err)
	}
	if err := ob.Enqueue(ctx, tx, msg); err != nil {
		return err
	}
	if r.Refuse {
		return errRefused
	}
	return tx.Commit()
}

// followUp returns the message that tells that an order was handled.
func followUp(customer, orderID string) (outbox.Message, error) {
	payload, err := json.Marshal(map[string]string{"orderId": orderID})
	msg := outbox.NewMessage(HandledTopic, payload)
	msg.ID, msg.Key = uuid.Must(uuid.NewV7()), customer
	return msg, err
}

// ended returns nil for an error that only says that a connection was lost before.
func ended(err error) error {
	if outbox.IsDatabaseUnavailable(err) {
		return nil
	}
	return err
}
