package main

import "fmt"

// window is over how much time rates are taken: at least four scrapes.
const window = "$__rate_interval"

// ofJobs selects the series of a metric that the dashboard shows; more are
// further matchers, such as `le="1"`.
func ofJobs(metric string, more ...string) string {
	matchers := `job=~"$job"`
	for _, m := range more {
		matchers += ", " + m
	}
	return metric + "{" + matchers + "}"
}

// outboxes returns a gauge that one relay of each outbox reports.
func outboxes(metric string) string {
	return fmt.Sprintf("max by (job, pulse_outbox_name) (%s)", ofJobs(metric))
}

// rate returns the rate of a counter.
func rate(by, metric string, more ...string) string {
	return fmt.Sprintf("sum by (%s) (rate(%s[%s]))", by, ofJobs(metric, more...), window)
}

// quantiles returns the median and the 99th percentile of a histogram.
func quantiles(metric string, more ...string) []query {
	of := func(q string) string {
		return fmt.Sprintf("histogram_quantile(%s, sum by (job, le) (rate(%s[%s])))", q, ofJobs(metric+"_bucket", more...), window)
	}
	return []query{{of("0.5"), "{{job}} p50"}, {of("0.99"), "{{job}} p99"}}
}

const (
	byJob      = "{{job}}"
	byOutbox   = "{{job}} {{pulse_outbox_name}}"
	byConsumer = "{{job}} {{messaging_consumer_group_name}}"
)
