// Package sqlstore is what the example services need of a database besides
// outbox and inbox: it opens what a URL names, brings the services' own tables,
// writes times alike on PostgreSQL and SQLite, and tells a database in trouble
// from a statement that is wrong.
package sqlstore
