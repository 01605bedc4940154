package main

//lint:file-ignore SA1019 The newer schema is read by Grafana 12 and later alone.

import "github.com/grafana/grafana-foundation-sdk/go/dashboard"

func outageBoard() *dashboard.DashboardBuilder {
	requests := "http_server_request_duration_seconds_count"
	return board("outage", "Pulse Events: Outage at a glance", "What is down, what waits for it, and does it recover? docs/operations.md is the runbook.", "pulse_connection_state").
		WithPanel(upOrDown("Services", "Whether Prometheus reaches the service.", query{"max by (job, instance) (" + ofJobs("up") + ")", "{{job}} {{instance}}"})).
		WithPanel(upOrDown("Broker", "Whether the service has a connection to the broker. Orders are accepted without.",
			query{"max by (job, instance) (" + ofJobs("pulse_connection_state", `pulse_connection_state="connected"`) + ")", "{{job}} {{instance}}"})).
		WithPanel(graph("Requests refused: the database", "Answers with 503 and other 5xx. A service whose database does not serve refuses requests, and nothing else makes it do so.", perSec,
			query{rate("job, http_response_status_code", requests, `http_response_status_code=~"5.."`) + " or 0 * " + rate("job", requests), byJob + " {{http_response_status_code}}"})).
		WithPanel(graph("Requests served", "They are served while the broker is away.", perSec,
			query{rate("job, http_response_status_code", requests), byJob + " {{http_response_status_code}}"})).
		WithPanel(graph("Waiting in the outbox", "It grows while the broker is away, and shrinks by itself after that.", count, query{outboxes("pulse_outbox_pending"), byOutbox})).
		WithPanel(graph("Oldest pending message", "How far behind the other services are.", seconds, query{outboxes("pulse_outbox_oldest_pending_age_seconds"), byOutbox})).
		WithPanel(graph("Published and applied", "Both lines are at zero during an outage of the broker, and above the usual after it.", perSec,
			query{rate("job", "pulse_outbox_publish_verdicts_total", `pulse_outbox_verdict="published"`), byJob + " published"},
			query{rate("job", "pulse_inbox_outcomes_total", `pulse_inbox_outcome="applied"`), byJob + " applied"})).
		WithPanel(graph("Connections to the broker", "blocked: the broker takes no messages, being short of memory or disk.", count,
			query{"sum by (job, pulse_connection_state) (" + ofJobs("pulse_connection_state") + ")", byJob + " {{pulse_connection_state}}"})).
		WithPanel(graph("Reconnects, 15 minutes", "A connection that does not hold: the network, a proxy, heartbeats.", count,
			query{"sum by (job) (increase(" + ofJobs("pulse_connection_reconnects_total") + "[15m]))", byJob})).
		WithPanel(graph("Needs somebody", "What does not end with the outage.", count,
			query{outboxes("pulse_outbox_dead"), byOutbox + " dead"}, query{outboxes("pulse_outbox_blocked_keys"), byOutbox + " blocked keys"}))
}
