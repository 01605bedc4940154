// Package peers measures this library beside others that do the same work, in
// one process, on the same PostgreSQL and RabbitMQ, in turns: Watermill's
// forwarder and River with a worker that waits for confirms for the outbox, and
// watermill-amqp with an inbox written by hand. It is a module of its own, so
// that nobody else needs theirs. make bench-peers runs it and draws the chart in
// docs/benchmarks.md, which lists the settings of each.
package peers
