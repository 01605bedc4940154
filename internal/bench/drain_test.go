package bench

import (
	"testing"
	"time"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// BenchmarkDrain measures how fast a relay with default settings drains a
// backlog, compared with the bare client that publishes the same messages to
// the same queue from memory. One operation is four turns: client, relay that
// keeps published rows, client, relay that deletes them.
func BenchmarkDrain(b *testing.B) {
	backlog, alone := many(50_000), many(2_000)
	forQueueTypes(b, func(b *testing.B, queueType inboxrabbit.QueueType) {
		ob, db := newOutbox(b)
		r := newBroker(b, queueType)
		msgs := newMessages(backlog)
		publishings := r.encode(msgs)
		p := newPublisher(b, r.url, r.exchange, patience)
		r.publish(publishings[:window], window) // warm up
		r.take(window)

		var client, naive, kept, deleted turns
		u := newUsage(b, map[string]string{server: r.url, database: testenv.Postgres(b)})
		publish := func() {
			client.measure(u, backlog, func() { r.publish(publishings, window) })
			r.take(backlog)
		}
		relay := func(results *turns, retention time.Duration) {
			mustExec(b, db, `TRUNCATE outbox_messages`)
			enqueue(b, ob, db, msgs, 500)
			relay := newRelay(b, ob, p, outbox.RelayConfig{Retention: retention})
			var stop func()
			results.measure(u, backlog, func() {
				stop = start(b, relay.Run)
				testenv.Eventually(b, patience, "the backlog to be published", func() bool { return relay.Health().Published == int64(backlog) })
			})
			stop()
			r.take(backlog)
		}
		for b.Loop() {
			publish()
			relay(&kept, 0)
			wantCount(b, db, backlog, `SELECT count(*) FROM outbox_messages WHERE status = 'published'`)
			publish()
			relay(&deleted, outbox.DeleteOnPublish)
			wantCount(b, db, 0, `SELECT count(*) FROM outbox_messages`)
			naive.measure(u, alone, func() { r.publish(publishings[:alone], 1) })
			r.take(alone)
		}
		client.report(b, "client")
		naive.report(b, "naive")
		kept.report(b, "kept")
		deleted.report(b, "deleted")
		b.ReportMetric(median(kept.rates)/median(client.rates), "kept/client")
		b.ReportMetric(median(deleted.rates)/median(client.rates), "deleted/client")
		hideTime(b)
	})
}
