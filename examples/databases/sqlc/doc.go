// Package sqlc shows outbox and inbox with code that sqlc (sqlc.dev) has
// generated from query.sql: package store for database/sql, and package pgxstore
// for pgx.
package sqlc

// It compiles the parser of PostgreSQL and so needs a C compiler, and minutes
// the first time.
//go:generate go run github.com/sqlc-dev/sqlc/cmd/sqlc@v1.31.1 generate
