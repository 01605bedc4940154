// Package pgxtx lets handlers apply messages in transactions of pgx
// (github.com/jackc/pgx/v5), without database/sql in between.
//
// The inbox itself works on a *sqlx.DB, for its tables: make one of the same
// pool,
//
//	db := sqlx.NewDb(stdlib.OpenDBFromPool(pool), "pgx")
//
// Package outbox/pgxtx is the same for producers.
package pgxtx

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/pgxtx"
)

// Tx returns tx as Inbox.Claim takes it:
//
//	fresh, err := in.Claim(ctx, pgxtx.Tx(tx), msg)
//
// It does not end tx, and is as safe for concurrent use as tx is.
func Tx(tx pgx.Tx) inbox.ClaimTx {
	if tx == nil {
		return nil // which Claim refuses
	}
	return pgxtx.New(tx)
}

// Beginner begins transactions: a *pgxpool.Pool, or a *pgx.Conn for one worker.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Handler applies one message in tx, which holds the message's claim already.
// It must not end tx. nil commits both.
type Handler func(ctx context.Context, tx pgx.Tx, msg inbox.Message) error

// Apply returns the function that inbox.NewConsumerFunc takes, with in as
// ConsumerConfig.Inbox: it begins a transaction, claims the message in it, calls h if that is fresh, and commits.
// Everything else rolls back, a panic of h included.
func Apply(in *inbox.Inbox, db Beginner, h Handler) func(ctx context.Context, msg inbox.Message) error {
	return func(ctx context.Context, msg inbox.Message) (err error) {
		tx, err := db.Begin(ctx)
		if err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		defer func() {
			// The error on its way says more than that of a connection that is gone.
			rollback := tx.Rollback(context.WithoutCancel(ctx))
			if rollback != nil && err == nil && !errors.Is(rollback, pgx.ErrTxClosed) {
				err = fmt.Errorf("roll back: %w", rollback)
			}
		}()
		fresh, err := in.Claim(ctx, Tx(tx), msg)
		if err != nil || !fresh {
			return err
		}
		if err := h(ctx, tx, msg); err != nil {
			return err
		}
		if err := tx.Commit(ctx); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		return nil
	}
}
