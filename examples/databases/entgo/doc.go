// Package entgo shows outbox and inbox with ent (entgo.io/ent).
//
// Both need a *sqlx.DB for their own tables. It shares the pool of the client:
//
//	client := ent.NewClient(ent.Driver(entsql.OpenDB(dialect.Postgres, db)))
//	ob, err := outbox.New(sqlx.NewDb(db, "pgx"))
//
// The client is generated with the feature sql/execquery, which lets an ent.Tx
// run the statements of outbox and inbox.
package entgo
