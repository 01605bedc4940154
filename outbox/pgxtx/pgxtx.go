// Package pgxtx has messages enqueued in a transaction of pgx
// (github.com/jackc/pgx/v5), without database/sql in between.
//
// The outbox itself works on a *sqlx.DB, for its relay and its queries: make one
// of the same pool,
//
//	db := sqlx.NewDb(stdlib.OpenDBFromPool(pool), "pgx")
//
// Package inbox/pgxtx is the same for consumers.
package pgxtx

import (
	"github.com/jackc/pgx/v5"

	"github.com/asimalizada/pulse-events/internal/pgxtx"
	"github.com/asimalizada/pulse-events/outbox"
)

// Tx returns tx as Outbox.Enqueue takes it:
//
//	err := ob.Enqueue(ctx, pgxtx.Tx(tx), msg)
//
// It does not end tx, and is as safe for concurrent use as tx is.
func Tx(tx pgx.Tx) outbox.Tx {
	if tx == nil {
		return nil // which Enqueue refuses
	}
	return pgxtx.New(tx)
}
