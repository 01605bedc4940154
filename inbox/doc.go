// Package inbox applies the effect of a message once, even when the message
// arrives twice.
//
// Brokers deliver at least once: after a crash, a lost connection or a repeated
// publish the same message comes again. So the handler's change and a row that
// says "this event is applied" are committed in one transaction, and the
// message is acknowledged after that. A copy finds the row and changes nothing.
//
//	in, err := inbox.New(db, "notifications")             // a *sqlx.DB, the consumer's name
//	c, err := inbox.NewConsumer(in, source, handler, inbox.ConsumerConfig{})
//	err = c.Run(ctx)                                      // until ctx ends
//
// [Inbox.Migrate] makes the tables. inbox/rabbitmq has a source, package outbox
// the other side, and inboxtest helps to test handlers. There are three ways
// in, from the most to the least that is done for you:
//
//   - A [Consumer] takes messages from a [Source], gathers them into batches
//     that share a transaction, retries, dead-letters, and survives outages.
//   - [Inbox.Once] applies one message in a transaction of its own, for those
//     who receive messages by other means, such as a webhook.
//   - [Inbox.Claim] notes one message in a transaction that the caller began
//     (GORM, bun, plain database/sql); [NewConsumerFunc] drives such handlers.
//
// # Words
//
// A message carries an event id, the same on every copy. It is claimed when its
// row is written, and applied when claim and effect are committed. A delivery is
// one copy handed out by a source, and settled in one of four ways: acknowledged,
// parked for a later attempt, set aside among the dead letters, or given back.
// The consumer is the name of who applies; two consumers may share a table, and
// each applies each event once.
//
// # What a handler answers
//
// nil applies and acknowledges. [Retry] parks for a delay, [DeadLetter] and
// [DeadLetterFor] set aside at once, [Unavailable] holds the message without
// counting. Any other error, and a panic, is retried by ConsumerConfig.Backoff
// and set aside after MaxAttempts. When a handler fails within a batch the
// batch is rolled back and its messages run one by one, so that the culprit
// alone suffers; handlers therefore may run more than once for a message, and
// only what they do through their Tx is applied once.
//
// The handler's context carries the correlation id, the message's id as the
// causation id, and the trace context, so that messages enqueued with it, in
// the same Tx even, continue the chain.
//
// # What a handler may not do
//
// Its [Tx] is lent: the transaction also holds the claims of its neighbours.
// What would end it is refused, what changes the session for others makes the
// handler run alone, and nothing of the handler outlives its return; Tx has the
// rules. They are checked before each commit, and a handler that breaks one is
// blamed with a [MisuseError]. Who calls [Inbox.Claim] in a transaction of their
// own keeps to the same rules by themselves.
//
// A handler that ignores its context is left behind a few seconds after
// HandlerTimeout, with its transaction rolled back, and fails. Run returns an
// error if that is so at the end.
//
// # Guarantees
//
//   - A handler's database effect is applied at most once for each consumer and
//     event id within the retention, and at least once unless the message is
//     set aside.
//   - A message is acknowledged only after its transaction committed, or when
//     it is known as a duplicate. What cannot be decoded is set aside with its
//     body, never dropped.
//   - An outage of database or broker costs no attempt: messages are held, and
//     [Consumer.Health] says why.
//   - The same event id with another payload, type or topic is never applied:
//     it is set aside as a conflict. What one of the two does not say is not
//     compared.
//   - An event that another transaction has claimed holds up nobody else: it
//     comes again after some seconds, without counting, until that has ended.
//   - A message that takes the process down time and again is set aside as a
//     crash loop, and its neighbours are applied: a redelivered message runs in
//     a transaction of its own after its start was committed, and once a start
//     was not finished, with nothing beside it in this consumer.
//   - Only the database's clock counts for retention.
//
// # Limits
//
//   - Effects outside the transaction (an e-mail, a call) need an idempotency
//     key of their own: the event id is a good one.
//   - Messages of one key are handled in the order of the queue, inside one
//     consumer, until one of them is parked, set aside or, at a stop, given
//     back: those behind it go on. Order across instances needs a single
//     active consumer.
//   - A copy that comes after ConsumerConfig.Retention is applied again.
//   - Processes killed from outside look like crashes: a message that was being
//     handled, redelivered, at each of CrashLimit kills in a row is set aside
//     although it is innocent.
//   - A message that has failed before, or whose handler changes its session,
//     runs without a batch.
//   - On SQLite one transaction writes at a time, handlers included, whatever
//     ConsumerConfig.Workers says: keep them short, and let none of them write
//     to the same file beside its Tx. A statement that fails may end the
//     transaction there (a full disk, an ended context); what the handler sends
//     after that is refused.
package inbox
