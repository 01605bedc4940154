// Package outboxtest helps to test services that use package outbox, and publishers
// for it.
//
// For services: RequireEnqueued and RequireNothingEnqueued check the outbox of a
// test database, also inside an open transaction.
//
//	placeOrder(ctx, tx, "customer-123")
//	msg := outboxtest.RequireEnqueued(t, tx, outboxtest.Match{Topic: "order.created"})
//
// For relays: Recorder is an outbox.Publisher that records messages and returns
// what the test sets.
//
// For publishers: RunPublisherSuite tests an implementation of outbox.Publisher for
// everything that the relay relies on.
package outboxtest
