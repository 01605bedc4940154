package main

//lint:file-ignore SA1019 The newer schema is read by Grafana 12 and later alone.

import "github.com/grafana/grafana-foundation-sdk/go/dashboard"

func inboxBoard() *dashboard.DashboardBuilder {
	outcomes := "pulse_inbox_outcomes_total"
	outcome := func(name string) string { return `pulse_inbox_outcome="` + name + `"` }
	perOutcome := "job, messaging_consumer_group_name, pulse_inbox_outcome"
	attempts := func(more ...string) string { return rate("job", "pulse_inbox_attempts_bucket", more...) }
	return board("inbox", "Pulse Events: Inbox", "Are messages applied, once and soon? docs/operations.md is the runbook.", outcomes).
		WithPanel(number("Applied a second", "Messages whose effect was committed.", perSec, 1e9, query{"sum(" + rate("job", outcomes, outcome("applied")) + ")", ""})).
		WithPanel(number("Dead letters, 24 h", "Messages whose effects are missing until somebody moves them back.", count, 1,
			query{"sum(increase(" + ofJobs(outcomes, outcome("dead_letter")) + "[24h]))", ""})).
		WithPanel(number("Held", "Messages that consumers have received and not settled.", count, 1e9, query{"sum(" + ofJobs("pulse_inbox_held") + ")", ""})).
		WithPanel(number("Critical time, 99 of 100", "From the event to its effect, through both services.", seconds, 60,
			query{"histogram_quantile(0.99, sum by (le) (rate(" + ofJobs("pulse_inbox_critical_time_seconds_bucket") + "[" + window + "])))", ""})).
		WithPanel(number("Handler, 99 of 100", "The time that handling takes.", seconds, 10,
			query{"histogram_quantile(0.99, sum by (le) (rate(" + ofJobs("messaging_process_duration_seconds_bucket") + "[" + window + "])))", ""})).
		WithPanel(number("Duplicates a second", "Messages that were applied before and are skipped. After a failover or a replay they are usual.", perSec, 1e9,
			query{"sum(" + rate("job", outcomes, outcome("duplicate")) + ")", ""})).
		WithPanel(graph("Received", "What the broker has delivered, further copies included.", perSec,
			query{rate("job", "messaging_client_consumed_messages_total"), byJob})).
		WithPanel(graph("Outcomes", "What became of each delivery.", perSec,
			query{rate(perOutcome, outcomes), byConsumer + " {{pulse_inbox_outcome}}"})).
		WithPanel(graph("Duplicates", "Skipped, since they were applied before.", perSec,
			query{rate("job, messaging_consumer_group_name", outcomes, outcome("duplicate")), byConsumer})).
		WithPanel(graph("Critical time", "From the event, by its producer's clock, to its effect. The outbox's lag is part of it.", seconds,
			quantiles("pulse_inbox_critical_time_seconds")...)).
		WithPanel(graph("Process time", "The time that handling takes, the transaction included.", seconds, quantiles("messaging_process_duration_seconds")...)).
		WithPanel(graph("Retries and dead letters", "A retry is a failure of the handler: its log says why.", perSec,
			query{rate(perOutcome, outcomes, `pulse_inbox_outcome=~"retry|dead_letter"`), byConsumer + " {{pulse_inbox_outcome}}"})).
		WithPanel(graph("Applied, by the attempts it took", "Each further attempt has waited in another retry queue.", perSec,
			query{attempts(`le=~"1|1.0"`), byJob + " at the first"},
			query{attempts(`le=~"3|3.0"`) + " - " + attempts(`le=~"1|1.0"`), byJob + " at the second or third"},
			query{attempts(`le="+Inf"`) + " - " + attempts(`le=~"3|3.0"`), byJob + " later"})).
		WithPanel(graph("Held", "Received and not settled. A line that stays up while nothing is applied: handlers hang.", count,
			query{"sum by (job, messaging_consumer_group_name) (" + ofJobs("pulse_inbox_held") + ")", byConsumer})).
		WithPanel(graph("Overdue purge", "For how long applied events have been remembered beyond their retention. Up to ten minutes or so is usual.", seconds,
			query{"max by (job, messaging_consumer_group_name) (" + ofJobs("pulse_inbox_purge_overdue_seconds") + ")", byConsumer}))
}
