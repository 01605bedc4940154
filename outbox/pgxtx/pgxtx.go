// Package pgxtx enqueues messages in a transaction of pgx (github.com/jackc/pgx/v5)
// directly, without database/sql.
//
// The outbox itself needs a *sqlx.DB for its relay and its queries, which can use
// the same pool:
//
//	db := sqlx.NewDb(stdlib.OpenDBFromPool(pool), "pgx")
//
// Package inbox/pgxtx does the same for consumers.
package pgxtx

import (
	"github.com/jackc/pgx/v5"

	"github.com/asimalizada/pulse-events/internal/pgxtx"
	"github.com/asimalizada/pulse-events/outbox"
)

// Tx returns tx as an argument of Outbox.Enqueue:
//
//	err := ob.Enqueue(ctx, pgxtx.Tx(tx), msg)
//
// It does not end tx, and is safe for concurrent use if tx is.
func Tx(tx pgx.Tx) outbox.Tx {
	if tx == nil {
		return nil // which Enqueue refuses
	}
	return pgxtx.New(tx)
}
