package bench

import (
	"slices"
	"testing"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// BenchmarkConsume measures how fast a consumer with an effect of one row per
// message empties a queue in which every tenth delivery is a copy: with default
// settings, and with a transaction for each message. One operation is a turn of
// each.
func BenchmarkConsume(b *testing.B) {
	const deliveries, copyEvery = 50_000, 10
	forQueueTypes(b, func(b *testing.B, queueType inboxrabbit.QueueType) {
		in, db := newInbox(b)
		r := newBroker(b, queueType)
		publishings := withCopies(r.encode(newMessages(deliveries-deliveries/copyEvery)), copyEvery)

		var batched, single rates
		consume := func(results *rates, cfg inbox.ConsumerConfig) {
			mustExec(b, db, `TRUNCATE processed_events, effects`)
			r.publish(publishings, window)
			source := newSource(b, r.url, r.queue)
			consumer := newConsumer(b, in, source, apply, cfg)
			var stop func()
			results.measure(deliveries, func() {
				stop = start(b, consumer.Run)
				testenv.Eventually(b, patience, "the queue to be consumed", func() bool {
					h := consumer.Health()
					return h.Applied+h.Duplicates == deliveries
				})
			})
			stop()
			source.Close()
			r.take(0)
			wantCount(b, db, deliveries-deliveries/copyEvery, `SELECT count(*) FROM effects`)
		}
		for b.Loop() {
			consume(&batched, inbox.ConsumerConfig{})
			consume(&single, inbox.ConsumerConfig{BatchSize: 1, Workers: 8, Prefetch: 64})
		}
		batched.report(b, "batched")
		single.report(b, "single")
		b.ReportMetric(median(batched)/median(single), "batched/single")
		hideTime(b)
	})
}

// withCopies makes every n-th element a copy of the one about a thousand places
// before, or of the first.
func withCopies(publishings []rabbit.Publishing, n int) []rabbit.Publishing {
	const distance = 1000
	var all []rabbit.Publishing
	for group := range slices.Chunk(publishings, n-1) {
		all = append(all, group...)
		all = append(all, all[max(0, len(all)-distance)])
	}
	return all
}
