package bench

import (
	"context"
	"slices"
	"testing"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// BenchmarkConsume measures how fast a consumer with an effect of one row per
// message empties a queue in which every tenth delivery is a copy: with default
// settings, and with a transaction for each message. It is compared with the bare
// client, which takes the same messages and does nothing with them, and with a
// consumer whose handler does nothing, which is the price of the inbox alone. One
// operation is a turn of each.
func BenchmarkConsume(b *testing.B) {
	const copyEvery = 10
	deliveries := many(50_000)
	forQueueTypes(b, func(b *testing.B, queueType inboxrabbit.QueueType) {
		in, db := newInbox(b)
		r := newBroker(b, queueType)
		u := newUsage(b, map[string]string{server: r.url, database: testenv.Postgres(b)})
		publishings := withCopies(r.encode(newMessages(deliveries-deliveries/copyEvery)), copyEvery)

		var client, batched, single, idle turns
		consume := func(results *turns, handler inbox.Handler, effects int, cfg inbox.ConsumerConfig) {
			mustExec(b, db, `TRUNCATE processed_events, effects`)
			r.publish(publishings, window)
			source := newSource(b, r.url, r.queue)
			consumer := newConsumer(b, in, source, handler, cfg)
			var stop func()
			results.measure(u, deliveries, func() {
				stop = start(b, consumer.Run)
				testenv.Eventually(b, patience, "the queue to be consumed", func() bool {
					h := consumer.Health()
					return h.Applied+h.Duplicates == int64(deliveries)
				})
			})
			stop()
			source.Close()
			r.take(0)
			wantCount(b, db, effects, `SELECT count(*) FROM effects`)
		}
		fresh := deliveries - deliveries/copyEvery
		nothing := func(context.Context, inbox.Tx, inbox.Message) error { return nil }
		for b.Loop() {
			r.publish(publishings, window)
			client.measure(u, deliveries, func() { r.consume(deliveries) })
			r.take(0)
			consume(&batched, apply, fresh, inbox.ConsumerConfig{})
			consume(&single, apply, fresh, inbox.ConsumerConfig{BatchSize: 1, Workers: 8, Prefetch: 64})
			consume(&idle, nothing, 0, inbox.ConsumerConfig{})
		}
		client.report(b, "client")
		batched.report(b, "batched")
		single.report(b, "single")
		idle.report(b, "no-effect")
		b.ReportMetric(median(batched.rates)/median(single.rates), "batched/single")
		b.ReportMetric(median(batched.rates)/median(client.rates), "consume/client")
		b.ReportMetric(median(idle.rates)/median(client.rates), "no-effect/client")
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
