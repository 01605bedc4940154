package main

//lint:file-ignore SA1019 The newer schema is read by Grafana 12 and later alone.

import "github.com/grafana/grafana-foundation-sdk/go/dashboard"

func outboxBoard() *dashboard.DashboardBuilder {
	verdicts := "pulse_outbox_publish_verdicts_total"
	published := rate("job", verdicts, `pulse_outbox_verdict="published"`)
	return board("outbox", "Pulse Events: Outbox", "Is what was committed published, and how soon? docs/operations.md is the runbook.", "pulse_outbox_leases").
		WithPanel(number("Pending", "Messages that are committed and not yet published.", count, 1000, query{"sum(" + outboxes("pulse_outbox_pending") + ")", ""})).
		WithPanel(number("Oldest pending", "How long the oldest message that is due has been waiting. It grows while the broker is away.", seconds, 300,
			query{"max(" + outboxes("pulse_outbox_oldest_pending_age_seconds") + ")", ""})).
		WithPanel(number("Dead", "Messages that somebody has to retry or discard: pulsectl outbox ls --status dead.", count, 1, query{"sum(" + outboxes("pulse_outbox_dead") + ")", ""})).
		WithPanel(number("Blocked keys", "Keys whose first message is refused, so that the later ones wait.", count, 1, query{"sum(" + outboxes("pulse_outbox_blocked_keys") + ")", ""})).
		WithPanel(number("Buckets without a relay", "Their messages are not published. All 64: no relay runs.", count, 1,
			query{"max(min by (job, pulse_outbox_name) (" + ofJobs("pulse_outbox_buckets_unassigned") + "))", ""})).
		WithPanel(number("Lag, 99 of 100", "From the commit to the broker's confirm.", seconds, 60,
			query{"histogram_quantile(0.99, sum by (le) (rate(" + ofJobs("pulse_outbox_lag_seconds_bucket") + "[" + window + "])))", ""})).
		WithPanel(graph("Backlog", "Retrying messages were refused by the broker; an outage counts no attempt.", count,
			query{outboxes("pulse_outbox_pending"), byOutbox + " pending"}, query{outboxes("pulse_outbox_retrying"), byOutbox + " retrying"})).
		WithPanel(graph("Age of the oldest pending message", "A line that climbs by a second a second: nothing is published.", seconds,
			query{outboxes("pulse_outbox_oldest_pending_age_seconds"), byOutbox})).
		WithPanel(graph("Committed and published", "Committed is what was published and what the backlog has grown by. Where it is above published, the relay falls behind.", perSec,
			query{"clamp_min(" + published + " + on (job) sum by (job) (deriv(" + ofJobs("pulse_outbox_pending") + "[5m])), 0)", byJob + " committed"},
			query{published, byJob + " published"})).
		WithPanel(graph("Lag", "From the commit to the broker's confirm, by the database's clock.", seconds, quantiles("pulse_outbox_lag_seconds")...)).
		WithPanel(graph("Verdicts", "What the broker has said of messages. unavailable: it did not answer, and they are sent again.", perSec,
			query{rate("job, pulse_outbox_verdict", verdicts), byJob + " {{pulse_outbox_verdict}}"})).
		WithPanel(graph("Publishing a batch", "The time of one call to the broker, confirms included.", seconds,
			quantiles("messaging_client_operation_duration_seconds", `messaging_operation_name="publish"`)...)).
		WithPanel(graph("Leases by relay", "64 buckets are shared by all relays of an outbox.", count,
			query{"sum by (job, instance) (" + ofJobs("pulse_outbox_leases") + ")", "{{job}} {{instance}}"})).
		WithPanel(graph("Blocked keys and dead messages", "Neither ends by itself, unless the broker accepts the message after all.", count,
			query{outboxes("pulse_outbox_blocked_keys"), byOutbox + " blocked keys"}, query{outboxes("pulse_outbox_dead"), byOutbox + " dead"})).
		WithPanel(graph("Outcomes not stored", "Another relay had the lease, or the message was discarded. A few after a failover are usual.", perSec,
			query{rate("job", "pulse_outbox_fenced_total"), byJob})).
		WithPanel(graph("Overdue purge", "For how long published messages have been kept beyond their retention. Up to a minute or so is usual.", seconds,
			query{outboxes("pulse_outbox_purge_overdue_seconds"), byOutbox}))
}
