// Package faults tests real services on a real PostgreSQL and a real RabbitMQ
// under faults: brokers are stopped and killed, processes are killed with kill
// -9 at the worst moment, and messages are duplicated, forged, or crash their
// handler.
//
// Each test checks the state during the fault, and ends with a reconciliation:
//
//	orders committed = outbox rows = effects applied (+ dead), lost 0, duplicate effects 0
//
// docs/guarantees.md lists the faults and links each to its test. Faults that
// concern one component are tested next to it; the tests here cover the whole
// path from the order to the notification.
//
// Where a process has to die at a certain point, it is this package's test
// program started again (child_test.go): a wrapper around the publisher or the
// source tells the parent that the point is reached and blocks, and the parent
// kills the process. The libraries contain no code for it.
package faults
