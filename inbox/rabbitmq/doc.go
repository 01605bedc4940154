// Package rabbitmq lets an inbox consume from RabbitMQ 3.10 or later.
//
// A Source owns one queue and what belongs to it:
//
//	pulse.events (topic exchange) --topics--> order.created --> consumer
//	                                             ^                |
//	             order.created.retry.5s (TTL) ---+-----(park)-----+
//	             order.created.dlq <-----------------(set aside)--+
//
// A message that failed waits in a retry queue, one for each delay, until its
// time to live is over and the broker passes it on to the queue, through the
// default exchange, so that no other consumer sees it. A message that is given
// up goes to the dead-letter queue. Both moves are published with confirm and
// acknowledged afterwards: a crash in between leaves two copies, never none.
//
// Copies keep properties, headers and body, and carry the history of their
// failures in headers (pulse-attempts, pulse-reason, pulse-first-error,
// pulse-last-error, pulse-first-failed-at, pulse-last-failed-at,
// pulse-consumer, pulse-exchange); pulse-topic keeps the topic, since the
// routing key becomes the queue's name. What the broker itself wrote (x-death
// and its like), an expiration, a user id, and CC and BCC are left out.
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
// The number of attempts is counted in pulse-attempts and not by the broker,
// whose delivery limit (20 by default on quorum queues from RabbitMQ 4.0)
// drops messages; it is switched off on the queues declared here.
//
// # Deliveries and connections
//
// Deliveries are acknowledged on the channel they came on or not at all. When
// connection, channel or queue is lost the Source subscribes again by itself,
// for as long as it takes, and the broker delivers again what was unsettled.
//
// A broker does not confirm acknowledgements. What was acknowledged just before
// a connection ended may come again: always when it broke, and on quorum queues
// even when it was closed in order, while more than some 30 acknowledgements
// are under way in the broker.
package rabbitmq
