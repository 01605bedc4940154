// Package rabbitmq lets an inbox consume from RabbitMQ 3.10 or later.
//
// A Source owns one queue and what belongs to it:
//
//	pulse.events (topic exchange) --topics--> order.created --> consumer
//	                                             ^                |
//	             order.created.retry.5s (TTL) ---+-----(retry)----+
//	             order.created.dlq <---------------(dead-letter)--+
//
// A message that failed waits in a retry queue, one for each delay, until its
// time to live is over and the broker passes it on to the queue, through the
// default exchange, so that no other consumer sees it. A message that is
// dead-lettered goes to the dead-letter queue. Both are published with a confirm
// and acknowledged afterwards: a crash in between leaves two copies, never none.
//
// Copies keep properties, headers and body, and carry the history of their
// failures in headers (pulse-attempts, pulse-reason, pulse-first-error,
// pulse-last-error, pulse-first-failed-at, pulse-last-failed-at,
// pulse-consumer, pulse-exchange); pulse-topic keeps the topic, since the
// routing key becomes the queue's name. What the broker itself wrote (x-death
// and its like), an expiration, a user id, and CC and BCC are left out. The
// history is accepted only from a message that comes from a retry queue of this
// queue: one that was moved back from the dead letters, by a shovel or by hand,
// has all of its attempts again, and what a producer writes is ignored.
//
// # Queue types
//
// Queues are quorum queues unless the configuration says Classic; the type is
// never guessed, because it cannot be changed later. On quorum queues a due
// retry is passed on at least once: while the consumer's queue is missing the
// broker keeps the message, unseen in any depth, and tries again every few
// minutes. On classic queues it is passed on at most once: if the queue is
// missing at that moment, the message is lost.
//
// LayoutOf returns every queue with every argument, for those who create them by
// other means; "pulsectl broker topology" prints it.
//
// # Delivery limits
//
// Quorum queues count how often a message comes back (x-delivery-count), and
// drop it beyond a limit: 20 by default from RabbitMQ 4.0 on, any number where a
// policy sets one, which no client can see. Attempts are counted in
// pulse-attempts instead, and the limit is switched off on the queues declared
// here; against policies there are three defences:
//
//   - What is requeued, as at a stop, is published to the end of the queue as a
//     new message, with a count of zero, and acknowledged. (A quorum queue puts
//     what is returned at its end as well.) An Inspector does the same. From
//     RabbitMQ 4.3 on returns do not count, and basic.nack is used.
//   - Lost connections and crashes count, which no client can prevent. What has
//     come back twice is published as a new message before it is handed out.
//   - The queue is declared so that the broker moves a message that exceeds a
//     limit all the same to the dead-letter queue (x-death tells the reason
//     delivery_limit) in place of deleting it. A queue that lacks this, made by
//     hand or by an earlier version, is used with a warning, and there what has
//     come back once is published as a new message.
//
// Health reports messages that keep coming back. A dead-letter queue without
// x-overflow reject-publish drops its oldest messages at a maximum length.
//
// # Messages that cannot be moved
//
// When the retry queue a message belongs to is full, missing or without a
// majority, another retry queue takes it. When none does, or the
// dead-letter queue does not, the message stays unacknowledged, holds its place
// in the prefetch, and is tried again; Health says how many do, and why. After a
// minute a retry becomes a dead letter, a dead letter waits in a retry queue,
// and failing that the end of the queue takes it, with its count. A crash loop stays
// where it is, since it must not run again.
//
// The headers of a copy leave room in their frame for what the broker adds,
// since a consumer that gets more than a frame loses its connection, time and
// again: error texts give way first, then the history but for its count. A
// message whose own headers leave no room is not retried but dead-lettered,
// without its largest headers if need be (pulse-dropped-headers names them). A
// body above a limit that was lowered since cannot be published at all: the
// broker moves it, where the queue was declared here.
//
// # Deliveries and connections
//
// Deliveries are acknowledged on the channel they came on or not at all. When
// connection, channel or queue is lost the Source subscribes again by itself,
// for as long as it takes, and the broker delivers again what was unsettled.
//
// Besides the prefetch, SourceConfig.PrefetchBytes bounds what is in memory:
// beyond it nothing is read from the connection. What the broker has assigned
// to this consumer by then waits for it, and for no other.
//
// A broker does not confirm acknowledgements. What was acknowledged just before
// a connection ended may come again: always when it broke, and on quorum queues
// even when it was closed in order, while more than some 30 acknowledgements
// are under way in the broker.
package rabbitmq
