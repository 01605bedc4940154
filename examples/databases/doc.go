// Package databases shows how other ways to a database share their
// transactions with the outbox and the inbox: bun, ent and sqlc, each in a
// package below and each in the words of its own documentation. It is a module
// of its own, so that none of them is a dependency of the libraries. GORM is
// shown by examples/gin, sqlx by examples/stdlib, pgx by outbox/pgxtx and
// inbox/pgxtx.
package databases
