// Package inboxtest is for the tests of those who use or extend package inbox.
//
// For handlers: Event makes a message of a typed event, and DeliverTwice and
// DeliverAtOnce deliver the same message to a handler more than once, through the
// inbox and the test's own database.
//
// For whole consumers: Queue is a broker's queue in memory whose connection
// can be lost (Queue.Disconnect) and whose settlements can be refused.
//
// For authors of sources: RunSourceSuite tests that an inbox.Source does what
// inbox.Consumer relies on. inbox/rabbitmq passes it with a real broker.
package inboxtest
