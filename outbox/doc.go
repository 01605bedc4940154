// Package outbox publishes a message if and only if the transaction it belongs
// to commits.
//
// A service that changes its database and then tells a broker can stop in
// between: the change is there and nobody hears of it, or the other way round.
// So the message is written into a table of the same database, in the same
// transaction, and a relay moves it from there to the broker.
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
// [Outbox.Migrate] makes the tables. outbox/rabbitmq has a publisher, package
// inbox the other side, and outboxtest helps to test services. The database is
// PostgreSQL or SQLite; outbox/sqlite opens the latter as it has to be.
//
// # Words
//
// A message is enqueued when its row is written, committed when the
// transaction is, and published when the broker has confirmed that it has the
// message in a queue. Until then it is pending; retrying if it has failed,
// delayed if its AvailableAt is still to come, blocked if an earlier message of
// its key has failed. A dead message waits for someone to [Outbox.Retry] or
// [Outbox.Discard] it. docs/states.md draws the states.
//
// The key orders: messages of one key are published one after another, by seq,
// the order in which they were inserted. The topic is the broker's routing key.
// A bucket is one of 64 parts of the outbox, by hash of the key; relays lease
// buckets and thereby share the work.
//
// The correlation id names a business action from its first request to its
// last message; the causation id names the message that led to this one. Both
// travel in the context, see [WithCorrelationID], and so does the trace context
// (W3C, as OpenTelemetry propagates it).
//
// # Guarantees
//
//   - A committed change that was made through Enqueue has exactly one row, a
//     rolled-back one has none.
//   - Every row is published in the end, or visibly dead. None is deleted,
//     expired or marked published otherwise.
//   - Enqueue needs no broker: while it is down, messages wait, and no attempt
//     is counted against them.
//   - What the broker could not route does not count as published.
//   - For one key, first publications follow seq. That is the order of commits
//     where producers hold a lock on what the key names, such as the order's row.
//   - Only the database's clock counts.
//
// # Limits
//
//   - At least once: after a crash or a lost confirm a message is published
//     again, with the same id and body. Package inbox applies it once.
//   - There is no order across keys, and no promise on latency.
//   - A transaction on another connection is another transaction: Enqueue
//     refuses handles that can begin one, but cannot know whether tx is the one
//     the change was made in.
//   - A commit that the database does not keep (synchronous_commit = off) is
//     lost with its messages.
//   - What was purged, after RelayConfig.Retention, cannot be replayed.
//
// # Producers in plain SQL
//
// A program in any language may insert into outbox_messages: topic, type and
// payload are enough, and the columns' checks hold it to the same bounds as
// Enqueue but for headers and payload. What cannot be sent for those is dead at
// once. On SQLite, which has no MD5, the column bucket has to be given as well:
// the first byte of the MD5 of the key, modulo 64; without a key any of 0 to 63.
// Times there are text such as 2006-01-02 15:04:05.000000, in UTC.
package outbox
