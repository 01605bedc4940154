// Package rabbitmq publishes the messages of an outbox to RabbitMQ, or to
// another broker that speaks AMQP 0-9-1 with RabbitMQ's publisher confirms.
//
//	publisher, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{URL: url, Producer: "orders"})
//	relay, err := outbox.NewRelay(ob, publisher, outbox.RelayConfig{})
//
// A message counts as published when a queue has taken charge of it: messages
// are persistent and mandatory, every one is confirmed, and one that the
// broker returned for want of a queue is not published, though the broker
// confirms that too. AllowUnroutable lists topics that need no queue, and Audiences
// topics that need certain ones. Confirms
// are pipelined: up to Window messages are on their way on each channel.
//
// To fit into what exists, a publisher takes exchanges of any type, routing keys
// other than the topic, headers to route by, and a Codec for the format of
// another ecosystem, such as NestJS or CloudEvents.
//
// The publisher keeps one connection, which it makes again for as long as it
// lives, and declares its exchange on each.
package rabbitmq
