package exampletest

import "testing"

// CorrelationRunsThrough tests that one correlation id runs from the HTTP header through row, message and
// notification into the logs of both services, and so does the trace.
func (k Stack) CorrelationRunsThrough(t *testing.T) {
	OnEachPlatform(t, func(t *testing.T, on Platform) {
		const (
			id     = "checkout-4711"
			parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		)
		s := k.start(t, on)
		next := s.tap(t)
		p := s.order(t, "x-correlation-id", id, "traceparent", parent, "tracestate", "vendor=1")
		if p.CorrelationID != id {
			t.Errorf("the answer names %q", p.CorrelationID)
		}
		row := s.outboxRow(t, p.EventID)
		if row.CorrelationID != id || row.Headers["traceparent"] != parent || row.Headers["tracestate"] != "vendor=1" {
			t.Errorf("row %+v", row.Message)
		}
		d := next()
		if d.CorrelationId != id || d.Headers["x-correlation-id"] != id || d.Headers["traceparent"] != parent {
			t.Errorf("message: property %q, headers %v", d.CorrelationId, d.Headers)
		}
		if n := s.awaitNotification(t, p.OrderID); n.CorrelationID != id {
			t.Errorf("notification %+v", n)
		}
		if s.logs.Find(t, map[string]any{
			"msg": "request", "service": "orders", "method": "POST",
			"correlation_id": id, "order_id": p.OrderID, "event_id": p.EventID,
		}) == nil {
			t.Errorf("access log of orders:\n%s", s.logs)
		}
		if s.notificationsLogs.Find(t, map[string]any{
			"msg": "notifying the customer", "service": "notifications",
			"correlation_id": id, "causation_id": p.EventID, "order_id": p.OrderID, "event_id": p.EventID,
		}) == nil {
			t.Errorf("log of notifications:\n%s", s.notificationsLogs)
		}
	})
}
