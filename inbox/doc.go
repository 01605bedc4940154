// Package inbox applies the effect of a message once, even when the message
// arrives twice.
//
// Brokers deliver at least once: after a crash, a lost connection or a repeated
// publish the same message is delivered again. So the handler's change and a row
// that marks the event as applied are committed in one transaction, and the
// message is acknowledged after that. For a copy the row exists already, and
// nothing is changed.
//
//	in, err := inbox.New(db, "notifications")             // a *sqlx.DB, the consumer's name
//	c, err := inbox.NewConsumer(in, source, handler, inbox.ConsumerConfig{})
//	err = c.Run(ctx)                                      // until ctx ends
//
// [Inbox.Migrate] creates the tables. Package inbox/rabbitmq has a source, package
// outbox is the producer's side, and inboxtest helps to test handlers. There are
// three ways to apply messages, from the most to the least that is done for you:
//
//   - A [Consumer] takes messages from a [Source], applies them in batches that
//     share a transaction, retries, dead-letters, and survives outages. A [Mux]
//     routes them to handlers by type and topic.
//   - [Inbox.Once] applies one message in a transaction of its own, for those
//     who receive messages by other means, such as a webhook.
//   - [Inbox.Claim] records one message in a transaction that the caller began
//     (GORM, bun, ent, pgx, plain database/sql); [NewConsumerFunc] makes a
//     consumer of such handlers.
//
// # Terms
//
// A message carries an event id, the same on every copy. It is claimed when its
// row is written, and applied when claim and effect are committed. A delivery is
// one copy handed out by a source. It is settled in one of four ways:
// acknowledged, retried after a delay, dead-lettered, or requeued. A consumer is
// known by the name given to [New]: two consumers may share a table, and each
// applies each event once.
//
// # How handler errors are interpreted
//
// nil applies and acknowledges. [Retry] retries after a delay, [DeadLetter] and
// [DeadLetterFor] dead-letter at once, [Unavailable] holds the message without
// counting an attempt. Any other error, and a panic, is retried by
// ConsumerConfig.Backoff and dead-lettered after MaxAttempts. When a handler
// fails within a batch, the batch is rolled back and its messages are run one by
// one, so that only the failing message is affected; handlers therefore may run
// more than once for a message, and only what they do through their Tx is
// applied once.
//
// The handler's context carries the correlation id, the message's id as the
// causation id, and a trace, so that messages enqueued with it, in the same Tx
// even, continue the chain. The trace is that of the span "process" of its
// message; in a batch, which shares a span, and where nobody traces, it is the
// trace context that the message came with. docs/observability.md lists the
// spans.
//
// # What a handler may not do
//
// A handler's [Tx] also holds the claims of other messages in the batch.
// Statements that would end the transaction are refused, a handler that changes
// the session runs alone, and nothing of it can be used after the handler has
// returned; see Tx for the rules. They are checked before each commit, and a
// handler that breaks one fails with a [MisuseError]. Callers of [Inbox.Claim] own
// their transaction and have to follow the rules themselves.
//
// A handler that ignores the end of its context is abandoned a few seconds after
// HandlerTimeout: its transaction is rolled back and its message fails. Run
// returns an error if such a handler still runs at the end.
//
// # Guarantees
//
//   - A handler's database effect is applied at most once for each consumer and
//     event id within the retention, and at least once unless the message is
//     dead-lettered.
//   - A message is acknowledged only after its transaction committed, or when
//     it is a duplicate. What cannot be decoded is dead-lettered with its body,
//     never dropped.
//   - An outage of database or broker costs no attempt: messages are held, and
//     [Consumer.Health] reports why.
//   - The same event id with another payload, type or topic is never applied:
//     it is dead-lettered as a conflict. A type or topic that one of the two
//     lacks is not compared.
//   - An event that another transaction has claimed does not delay others: it is
//     retried after some seconds, without counting an attempt, until that
//     transaction has ended.
//   - A message that crashes the process repeatedly is dead-lettered as a crash
//     loop, and other messages are applied: a redelivered message runs in a
//     transaction of its own after its start was committed and, once a start was
//     not finished, with nothing beside it in this consumer.
//   - Only the database's clock counts for retention.
//
// # Limits
//
//   - Effects outside the transaction (an e-mail, a call) need an idempotency
//     key of their own: the event id is a good one.
//   - Messages of one key are handled in the order of the queue, inside one
//     consumer, until one of them is retried, dead-lettered or, at a stop,
//     requeued: those behind it do not wait. Order across instances needs a
//     single active consumer.
//   - A copy that comes after ConsumerConfig.Retention is applied again.
//   - Processes killed from outside look like crashes: a message that was being
//     handled, redelivered, at each of CrashLimit kills in a row is dead-lettered
//     although it did not cause them.
//   - A message that has failed before, or whose handler changes its session,
//     runs without a batch.
//   - On SQLite one transaction writes at a time, handlers included, whatever
//     ConsumerConfig.Workers says: keep them short, and let none of them write
//     to the same file beside its Tx. A statement that fails may end the
//     transaction there (a full disk, an ended context); what the handler sends
//     after that is refused.
package inbox
