package bench

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// BenchmarkPartialOutage drains a backlog of which one message in eleven goes
// to another queue: while that queue works, and while it hangs and confirms
// nothing. The rates are those of the other messages. One operation is a turn
// of each.
func BenchmarkPartialOutage(b *testing.B) {
	const well, every = 20_000, 10
	const stuckTopic = "payment.made"
	forQueueTypes(b, func(b *testing.B, queueType inboxrabbit.QueueType) {
		server := testenv.RabbitMQServer(b)
		ob, db := newOutbox(b)
		r := newBrokerAt(b, server.URL(), queueType)
		stuckQueue := r.queue + ".stuck"
		_, err := r.channel.QueueDeclare(stuckQueue, true, false, false, false, amqp.Table{"x-queue-type": queueType.String()})
		r.must(err)
		r.must(r.channel.QueueBind(stuckQueue, stuckTopic, r.exchange, false, nil))
		p := newPublisher(b, r.url, r.exchange, 0)
		var msgs []outbox.Message
		for i, m := range newMessages(well) {
			if msgs = append(msgs, m); i%every == 0 {
				other := outbox.NewMessage(stuckTopic, m.Payload)
				other.Key = other.ID.String()
				msgs = append(msgs, other)
			}
		}

		var calm, partial rates
		var standstill time.Duration
		drain := func(results *rates, want int64) {
			mustExec(b, db, `TRUNCATE outbox_messages`)
			enqueue(b, ob, db, msgs, 500)
			relay := newRelay(b, ob, p, outbox.RelayConfig{})
			stop := start(b, relay.Run)
			began, progress, last := time.Now(), time.Now(), int64(0)
			longest := time.Duration(0)
			testenv.Eventually(b, patience, "the backlog to be published", func() bool {
				n := relay.Health().Published
				if n > last {
					longest = max(longest, time.Since(progress))
					progress, last = time.Now(), n
				}
				return n >= want
			})
			*results = append(*results, well/(time.Since(began)-longest).Seconds())
			standstill = max(standstill, longest)
			stop()
			r.take(well)
		}
		for b.Loop() {
			drain(&calm, int64(len(msgs)))
			_, err := r.channel.QueuePurge(stuckQueue, false)
			r.must(err)
			standstill = 0
			resume := server.HangQueue(stuckQueue)
			drain(&partial, well)
			resume()
			_, err = r.channel.QueuePurge(stuckQueue, false)
			r.must(err)
		}
		calm.report(b, "calm")
		partial.report(b, "partial")
		b.ReportMetric(median(partial)/median(calm), "partial/calm")
		b.ReportMetric(standstill.Seconds(), "standstill-s")
		hideTime(b)
	})
}
