// Package faults holds the tests that break things on purpose: real services
// on a real PostgreSQL and a real RabbitMQ, with brokers stopped and killed,
// processes ended by kill -9 at the worst of moments, and messages that come
// twice, come forged or kill whoever handles them.
//
// Each test looks at the state during the fault, and closes with the ledger:
//
//	orders committed = outbox rows = effects applied (+ dead), lost 0, duplicate effects 0
//
// docs/guarantees.md lists the faults and links each to its test. Faults that
// one part can prove alone are tested beside that part; here are those that
// take the whole way from the order to the notification.
//
// Where a process has to die at a certain point, it is this package's test
// program started once more (child_test.go): a wrapper around the publisher or
// the source tells the parent that the point is reached and goes no further,
// and the parent kills it. The libraries know nothing of it.
package faults
