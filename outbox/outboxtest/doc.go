// Package outboxtest is for the tests of those who use or extend package
// outbox.
//
// For services: RequireEnqueued and RequireNothingEnqueued look into the outbox
// of the test's own database, also inside a transaction that is still open.
//
//	placeOrder(ctx, tx, "customer-123")
//	msg := outboxtest.RequireEnqueued(t, tx, outboxtest.Match{Topic: "order.created"})
//
// For whole relays: Recorder is an outbox.Publisher that keeps what it is given
// and answers as it is told to.
//
// For authors of publishers: RunPublisherSuite holds an outbox.Publisher to
// what the relay relies on. outbox/rabbitmq passes it against the real broker.
package outboxtest
