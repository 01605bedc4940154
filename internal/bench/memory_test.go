package bench

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// BenchmarkMemory sends messages through relay and consumer in one process and
// measures its memory four times on the way, with nothing in flight and after a
// garbage collection: the rest is what they retain. The reported growth is from
// the first measurement, when all buffers have been used, to the last.
func BenchmarkMemory(b *testing.B) {
	const total, looks, chunk, size = 500_000, 5, 5_000, 500
	ob, outboxDB := newOutbox(b)
	in, inboxDB := newInbox(b)
	r := newBroker(b, inboxrabbit.Quorum)
	relay := newRelay(b, ob, newPublisher(b, r.url, r.exchange, patience), outbox.RelayConfig{})
	consumer := newConsumer(b, in, newSource(b, r.url, r.queue), apply, inbox.ConsumerConfig{})
	start(b, relay.Run)
	start(b, consumer.Run)

	for b.Loop() {
		var heap, resident [looks]float64
		sent := consumer.Health().Applied
		heap[0], resident[0] = memory(b)
		for look := 1; look < looks; look++ {
			for range total / (looks - 1) / chunk {
				enqueue(b, ob, outboxDB, newMessages(chunk), size)
				relay.Wake()
				sent += chunk
				// The backlog stays small, so that all components work all the
				// time.
				testenv.Eventually(b, patience, "the relay to keep up", func() bool { return sent-relay.Health().Published < 4*chunk })
			}
			testenv.Eventually(b, patience, "everything to be applied", func() bool { return consumer.Health().Applied == sent })
			heap[look], resident[look] = memory(b)
		}
		for look := range looks {
			at := "at-" + strconv.Itoa(look*100/(looks-1)) + "%"
			b.ReportMetric(heap[look]/1e6, "heap-MB-"+at)
			b.ReportMetric(resident[look]/1e6, "resident-MB-"+at)
		}
		const between = total / (looks - 1) * (looks - 2)
		b.ReportMetric((heap[looks-1]-heap[1])/between, "heap-growth-B/msg")
	}
	wantCount(b, inboxDB, b.N*total, `SELECT count(*) FROM effects`)
	hideTime(b)
}

// memory returns the bytes of live heap objects and the resident size of the
// process, which is 0 where the system does not report it.
func memory(b *testing.B) (heap, resident float64) {
	b.Helper()
	runtime.GC()
	debug.FreeOSMemory() // another collection: pools have released their objects now
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	self, err := process.NewProcess(int32(os.Getpid()))
	if err != nil {
		b.Fatal(err)
	}
	info, err := self.MemoryInfo()
	if err != nil {
		return float64(stats.HeapAlloc), 0
	}
	return float64(stats.HeapAlloc), float64(info.RSS)
}
