package bench

import (
	"math"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/bench"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
)

var relayColumns = []console.Column[bench.Relay]{
	{Key: "messages", Value: func(r bench.Relay) any { return r.Messages }},
	{Key: "rate", Value: func(r bench.Relay) any { return whole(r.Rate) }},
	{Key: "ceilingRate", Value: func(r bench.Relay) any { return whole(r.Ceiling) }},
	{Key: "ratio", Value: func(r bench.Relay) any { return hundredths(r.Ratio) }},
	{Key: "queueType", Value: func(r bench.Relay) any { return r.QueueType }},
	{Key: "retention", Value: func(r bench.Relay) any { return r.Retention }},
	{Key: "p50Ms", Value: func(r bench.Relay) any { return milliseconds(r.Latency.P50) }},
	{Key: "p99Ms", Value: func(r bench.Relay) any { return milliseconds(r.Latency.P99) }},
	{Key: "latencyRate", Value: func(r bench.Relay) any { return whole(r.Latency.Rate) }},
	{Key: "wake", Value: func(r bench.Relay) any { return string(r.Wake) }},
}

var inboxColumns = []console.Column[bench.Inbox]{
	{Key: "deliveries", Value: func(r bench.Inbox) any { return r.Deliveries }},
	{Key: "duplicates", Value: func(r bench.Inbox) any { return r.Duplicates }},
	{Key: "rate", Value: func(r bench.Inbox) any { return whole(r.Rate) }},
	{Key: "singleRate", Value: func(r bench.Inbox) any { return whole(r.Single) }},
	{Key: "ceilingRate", Value: func(r bench.Inbox) any { return whole(r.Ceiling) }},
	{Key: "ratio", Value: func(r bench.Inbox) any { return hundredths(r.Ratio) }},
	{Key: "speedup", Value: func(r bench.Inbox) any { return hundredths(r.Speedup) }},
	{Key: "queueType", Value: func(r bench.Inbox) any { return r.QueueType }},
}

var enqueueColumns = []console.Column[bench.Enqueue]{
	{Key: "messages", Value: func(r bench.Enqueue) any { return r.Messages }},
	{Key: "rate", Value: func(r bench.Enqueue) any { return whole(r.Rate) }},
	{Key: "bareRate", Value: func(r bench.Enqueue) any { return whole(r.Bare) }},
	{Key: "ratio", Value: func(r bench.Enqueue) any { return hundredths(r.Ratio) }},
	{Key: "batchRate", Value: func(r bench.Enqueue) any { return whole(r.Batch) }},
	{Key: "batchCost", Value: func(r bench.Enqueue) any { return hundredths(r.BatchCost) }},
}

var roundTripColumns = []console.Column[bench.RoundTrip]{
	{Key: "messages", Value: func(r bench.RoundTrip) any { return r.Latency.Messages }},
	{Key: "rate", Value: func(r bench.RoundTrip) any { return whole(r.Latency.Rate) }},
	{Key: "queueType", Value: func(r bench.RoundTrip) any { return r.QueueType }},
	{Key: "wake", Value: func(r bench.RoundTrip) any { return string(r.Wake) }},
	{Key: "p50Ms", Value: func(r bench.RoundTrip) any { return milliseconds(r.Latency.P50) }},
	{Key: "p99Ms", Value: func(r bench.RoundTrip) any { return milliseconds(r.Latency.P99) }},
}

func whole(v float64) int { return int(math.Round(v)) }

func hundredths(v float64) float64 { return math.Round(v*100) / 100 }

// milliseconds has tenths.
func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(100*time.Microsecond)) / 10
}
