// Package outbox publishes a message if and only if the transaction it belongs
// to commits.
//
// A service that commits a change to its database and then publishes a message
// can crash between the two steps, and one of them is lost. With an outbox the
// message is written to a table of the same database in the same transaction,
// and a relay publishes it from there.
//
//	ob, err := outbox.New(db)                             // a *sqlx.DB
//	msg := outbox.NewMessage("order.created", payload)    // its id is known now
//	err = ob.Enqueue(ctx, tx, msg)                        // with the change, in its transaction
//
//	relay, err := outbox.NewRelay(ob, publisher, outbox.RelayConfig{})
//	err = relay.Run(ctx)                                  // until ctx ends
//
// Where nothing runs for long, as in a scheduled job, [Relay.Drain] publishes what
// is pending and returns. [Relays] serves many outboxes in one process.
//
// [Outbox.Migrate] creates the tables. Package outbox/rabbitmq is a publisher for
// RabbitMQ, package inbox handles messages on the consuming side, and package
// outboxtest is for tests. The database is PostgreSQL or SQLite; package
// outbox/sqlite opens SQLite with the settings that are needed.
//
// # Terms
//
// A message is enqueued when its row is written, committed when the
// transaction is, and published when the broker has confirmed that it has the
// message in a queue. Until then it is pending; a pending message is retrying if
// it has failed, delayed if its AvailableAt is in the future, and blocked if an
// earlier message of its key has failed. A dead message is not retried until
// [Outbox.Retry] or [Outbox.Discard] is called for it. The states are drawn in
// docs/states.md.
//
// Messages of one key are published one after another, by seq, which is the order
// in which they were inserted. The topic is the broker's routing key.
// A bucket is one of 64 parts of the outbox, by hash of the key; relays lease
// buckets and thereby share the work.
//
// The correlation id names a business action from its first request to its
// last message; the causation id names the message that led to this one. Both
// travel in the context, see [WithCorrelationID], and so does the trace context
// (W3C, as OpenTelemetry propagates it). Enqueue makes a span for each message,
// whose context the message carries; the relay makes one for each batch, and
// changes nothing of what messages carry. docs/observability.md lists them.
//
// # Guarantees
//
//   - A committed change that was made through Enqueue has exactly one row, a
//     rolled-back one has none.
//   - Every row is eventually published or is marked dead. No row is deleted,
//     expired or marked published otherwise.
//   - Enqueue needs no broker: while it is down, messages wait, and no attempt
//     is counted against them.
//   - What the broker could not route does not count as published.
//   - For one key, first publications follow seq. That is the order of commits
//     where producers hold a lock on what the key names, such as the order's row.
//   - All times are those of the database's clock.
//
// # Limits
//
//   - At least once: after a crash or a lost confirm a message is published
//     again, with the same id and body. Package inbox applies it once.
//   - There is no order across keys, and no bound on latency.
//   - A transaction on another connection is another transaction: Enqueue
//     refuses handles that can begin one, but cannot detect that the change was
//     made in another transaction than tx.
//   - If the database loses a commit (synchronous_commit = off), its messages are
//     lost too.
//   - Messages that were purged, after RelayConfig.Retention, cannot be replayed.
//
// # Producers in plain SQL
//
// A program in any language may insert into outbox_messages: docs/sql-contract.md
// has all of it. The columns topic,
// type and payload are required, and CHECK constraints enforce the limits of
// Enqueue except for those of headers and payload: a message that cannot be sent
// because of these is dead at the first attempt. On SQLite, which has no MD5
// function, the column bucket is required as well:
// the first byte of the MD5 of the key, modulo 64, or any of 0 to 63 if there is no
// key. Times on SQLite are text such as 2006-01-02 15:04:05.000000, in UTC.
package outbox
