package bench

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

var largeMessages = flag.Int("large-messages", 50_000, "how many messages BenchmarkMemoryLarge sends")

// BenchmarkMemoryLarge sends messages of 100 KB through relay and consumer with
// their default settings, in rounds that fit on a disk, and measures the most
// memory that the process has had resident: while the relay drains a backlog,
// and while the consumer empties a queue. Writing the backlog does not count.
func BenchmarkMemoryLarge(b *testing.B) {
	const round, size = 5_000, 100_000
	forQueueTypes(b, func(b *testing.B, queueType inboxrabbit.QueueType) {
		ob, outboxDB := newOutbox(b)
		in, inboxDB := newInbox(b)
		r := newBroker(b, queueType)
		p := newPublisher(b, r.url, r.exchange, patience)
		rounds := max(1, *largeMessages/round)
		for b.Loop() {
			var drained, consumed rates
			var draining, consuming float64
			mustExec(b, inboxDB, `TRUNCATE processed_events, effects`)
			for range rounds {
				mustExec(b, outboxDB, `TRUNCATE outbox_messages`)
				enqueueLarge(b, ob, outboxDB, round, size)

				relay := newRelay(b, ob, p, outbox.RelayConfig{})
				resetPeak(b)
				var stop func()
				drained.measure(round, func() {
					stop = start(b, relay.Run)
					testenv.Eventually(b, patience, "the backlog to be published", func() bool { return relay.Health().Published == round })
				})
				draining = max(draining, peak(b))
				stop()

				source := newSource(b, r.url, r.queue)
				consumer := newConsumer(b, in, source, apply, inbox.ConsumerConfig{})
				resetPeak(b)
				consumed.measure(round, func() {
					stop = start(b, consumer.Run)
					testenv.Eventually(b, patience, "the queue to be consumed", func() bool { return consumer.Health().Applied == round })
				})
				consuming = max(consuming, peak(b))
				stop()
				source.Close()
			}
			wantCount(b, inboxDB, rounds*round, `SELECT count(*) FROM effects`)
			b.ReportMetric(float64(rounds*round), "messages")
			drained.report(b, "drained")
			consumed.report(b, "consumed")
			b.ReportMetric(draining, "draining-peak-MB")
			b.ReportMetric(consuming, "consuming-peak-MB")
		}
		hideTime(b)
	})
}

// enqueueLarge stores n messages of size bytes that do not compress, twenty in
// a transaction, so that the writer needs little memory.
func enqueueLarge(b *testing.B, ob *outbox.Outbox, db *sqlx.DB, n, size int) {
	b.Helper()
	source := rand.NewChaCha8([32]byte{})
	msgs := make([]outbox.Message, 20)
	for range n / len(msgs) {
		for i := range msgs {
			body := make([]byte, size)
			_, _ = source.Read(body) // never fails
			msgs[i] = outbox.NewMessage(topic, body)
			msgs[i].Key = msgs[i].ID.String()
		}
		if err := enqueueOnce(b.Context(), ob, db, msgs); err != nil {
			b.Fatal(err)
		}
	}
}

// resetPeak has the system count the peak of resident memory anew, from what is
// needed now.
func resetPeak(b *testing.B) {
	b.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Skip("only Linux tells the peak of resident memory: ", err)
	}
}

// peak returns the most megabytes that were resident since resetPeak.
func peak(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		var kB float64
		if n, _ := fmt.Sscanf(lines.Text(), "VmHWM: %f kB", &kB); n == 1 {
			return kB * 1024 / 1e6
		}
	}
	b.Fatal("no VmHWM in /proc/self/status")
	return 0
}
