package bench

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// timed is a publisher that notes when the messages of interest are confirmed.
type timed struct {
	outbox.Publisher
	mu      sync.Mutex
	written map[uuid.UUID]time.Time // committed, and not confirmed
	delays  []time.Duration
}

func (p *timed) note(m outbox.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written[m.ID] = time.Now()
}

func (p *timed) Publish(ctx context.Context, msgs []outbox.Message) []error {
	results := p.Publisher.Publish(ctx, msgs)
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, m := range msgs {
		if at, ok := p.written[m.ID]; ok && results[i] == nil {
			p.delays = append(p.delays, now.Sub(at))
			delete(p.written, m.ID)
		}
	}
	return results
}

// take returns the delays so far in milliseconds, in order, when all are there.
func (p *timed) take(b *testing.B) []float64 {
	b.Helper()
	testenv.Eventually(b, patience, "the fresh messages to be published", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.written) == 0
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	var ms []float64
	for _, d := range p.delays {
		ms = append(ms, float64(d)/1e6)
	}
	p.delays = nil
	return slices.Sorted(slices.Values(ms))
}

// BenchmarkFreshBesideBacklog measures how long messages take from their commit to
// their confirm that are enqueued, each with a key of its own, while a relay drains a
// backlog of 100,000 others, and how fast the backlog drains meanwhile.
func BenchmarkFreshBesideBacklog(b *testing.B) {
	const backlog, every = 100_000, 20 * time.Millisecond
	forQueueTypes(b, func(b *testing.B, queueType inboxrabbit.QueueType) {
		ob, db := newOutbox(b)
		r := newBroker(b, queueType)
		p := &timed{Publisher: newPublisher(b, r.url, r.exchange, patience), written: make(map[uuid.UUID]time.Time)}
		var delays []float64
		var drain rates
		for b.Loop() {
			mustExec(b, db, `TRUNCATE outbox_messages`)
			enqueue(b, ob, db, newMessages(backlog), 500)
			relay := newRelay(b, ob, p, outbox.RelayConfig{})
			fresh := newMessages(backlog)
			n := 0
			var stop func()
			drain.measure(backlog, func() {
				stop = start(b, relay.Run)
				tick := time.NewTicker(every)
				defer tick.Stop()
				for relay.Health().Published < backlog {
					<-tick.C
					m := outbox.NewMessage(topic, fresh[n].Payload)
					m.Key = m.ID.String()
					p.note(m)
					if err := enqueueOnce(b.Context(), ob, db, []outbox.Message{m}); err != nil {
						b.Fatal(err)
					}
					relay.Wake()
					n++
				}
			})
			testenv.Eventually(b, patience, "the backlog to drain", func() bool { return relay.Health().Published >= int64(backlog+n) })
			taken := p.take(b)
			b.Logf("%d fresh messages: p50 %.0f ms, p99 %.0f ms", len(taken), median(taken), taken[len(taken)*99/100])
			delays = append(delays, taken...)
			stop()
			r.take(backlog + n)
		}
		drain.report(b, "drain")
		b.ReportMetric(median(delays), "fresh-p50-ms")
		slices.Sort(delays)
		b.ReportMetric(delays[len(delays)*99/100], "fresh-p99-ms")
		hideTime(b)
	})
}

// BenchmarkHotKey measures how fast a backlog of one key drains, beside the bare client
// that publishes one message at a time and awaits its confirm: with the default of one
// unconfirmed message of a key, and with a window.
func BenchmarkHotKey(b *testing.B) {
	const backlog = 2_000
	forQueueTypes(b, func(b *testing.B, queueType inboxrabbit.QueueType) {
		ob, db := newOutbox(b)
		r := newBroker(b, queueType)
		msgs := newMessages(backlog)
		publishings := r.encode(msgs)
		for i := range msgs {
			msgs[i].Key = "hot"
		}
		p := newPublisher(b, r.url, r.exchange, patience)
		var client, hot, windowed rates
		relay := func(results *rates, window int) {
			mustExec(b, db, `TRUNCATE outbox_messages`)
			enqueue(b, ob, db, msgs, 500)
			relay := newRelay(b, ob, p, outbox.RelayConfig{KeyWindow: window})
			var stop func()
			results.measure(backlog, func() {
				stop = start(b, relay.Run)
				testenv.Eventually(b, patience, "the key to be published", func() bool { return relay.Health().Published == backlog })
			})
			stop()
			r.take(backlog)
		}
		for b.Loop() {
			client.measure(backlog, func() { r.publish(publishings, 1) })
			r.take(backlog)
			relay(&hot, 1)
			relay(&windowed, 100)
		}
		client.report(b, "client-one-by-one")
		hot.report(b, "hot-key")
		windowed.report(b, "hot-key-window-100")
		b.ReportMetric(median(hot)/median(client), "hot-key/client")
		hideTime(b)
	})
}
