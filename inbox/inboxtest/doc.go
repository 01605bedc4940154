// Package inboxtest is for the tests of those who use or extend package inbox.
//
// For handlers: DeliverTwice and DeliverAtOnce hand the same message to a
// handler again, through the inbox and the test's own database.
//
// For whole consumers: Queue is a broker's queue in memory whose connection
// can be lost (Queue.Disconnect) and whose settlements can be refused.
//
// For authors of sources: RunSourceSuite holds an inbox.Source to what
// inbox.Consumer relies on. inbox/rabbitmq passes it against the real broker.
package inboxtest
