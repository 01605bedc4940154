// Package bench holds end-to-end benchmarks on real PostgreSQL and RabbitMQ.
// Each measures both sides of a ratio in one run, in turns, so that other load
// on the machine affects both. docs/benchmarks.md says how to run and read
// them.
package bench
