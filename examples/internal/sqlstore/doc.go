// Package sqlstore is what the example services need of a database besides
// outbox and inbox: it opens what a URL names, brings the services' own tables,
// and writes times alike on PostgreSQL and SQLite.
package sqlstore
