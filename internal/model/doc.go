// Package model is a model of producers, relays, a broker and consumers that is small
// enough to try all that can happen: every interleaving of their steps and of faults,
// within bounds, and random schedules beyond them. After each step it checks the
// guarantees of docs/guarantees.md, and from each state that everything is published
// and applied once the faults end.
//
// A step is what happens at once as far as others can see: a statement, a message that
// reaches the broker, a commit, a crash. Which rules the steps follow, and where the
// product has them:
//
//	database.go   rows, snapshots, leases        outbox/sql/postgres/*.sql
//	lane.go       read, publish, store, advance  outbox/relay_lane*.go, relay_cursor.go
//	keeper.go     leases, sweep, due             outbox/relay_lease.go, relay_sweep.go
//	broker.go     confirms, returns, queue       AMQP 0-9-1, and RabbitMQ's extensions
//	consumer.go   claim, effect, commit, ack     inbox/claim.go, worker.go, outcome.go
//
// How far a cursor may go is decided by internal/cursor itself, which is pure. The rest
// is written once more here: a change there belongs here, too.
//
// Rules switches off one rule of the product at a time. That each then breaks a guarantee
// shows that the model would notice. testdata has a short schedule for each.
//
// Its bounds, and what it cannot show, are in docs/adr/0028-a-model-of-the-protocol.md.
package model
