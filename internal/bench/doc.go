// Package bench holds benchmarks of the whole on real PostgreSQL and RabbitMQ.
// Each measures both sides of a ratio in one run, in turns, so that other load
// on the machine meets both. docs/benchmarks.md says how to run and read them.
package bench
