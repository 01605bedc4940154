package inbox_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// benchMessages is one operation of the benchmark.
const benchMessages = 20_000

// BenchmarkConsumer drains a queue on RabbitMQ through the inbox on PostgreSQL:
// 512-byte messages, every tenth a copy, one INSERT as the effect. "batches" is
// the consumer as it is by default, "one by one" the same with a transaction
// for each message and 8 workers.
func BenchmarkConsumer(b *testing.B) {
	for _, way := range []struct {
		name string
		cfg  inbox.ConsumerConfig
	}{
		{"batches", inbox.ConsumerConfig{}},
		{"one by one", inbox.ConsumerConfig{Workers: 8, BatchSize: 1, Prefetch: 64}},
	} {
		b.Run(way.name, func(b *testing.B) {
			in, db := newInbox(b, testenv.Postgres(b))
			db.SetMaxIdleConns(16)
			cfg := rabbitmq.SourceConfig{URL: testenv.RabbitMQ(b), Queue: testenv.UniqueName(b, "bench"),
				Exchange: testenv.UniqueName(b, "events"), Logger: slog.New(slog.DiscardHandler)}
			source, err := rabbitmq.NewSource(cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer source.Close()
			way.cfg.Logger = slog.New(slog.DiscardHandler)

			// The first consumer declares the queue and warms the connections up.
			drain(b, in, source, way.cfg, 0)
			channel := benchChannel(b, cfg.URL)
			applied := 0
			for round := 0; b.Loop(); round++ {
				b.StopTimer()
				applied = publishBench(b, channel, cfg.Queue, round)
				b.StartTimer()
				drain(b, in, source, way.cfg, int64(applied))
			}
			b.ReportMetric(float64(b.N)*benchMessages/b.Elapsed().Seconds(), "msgs/s")
		})
	}
}

// drain runs a consumer until every message of a round is settled.
func drain(b *testing.B, in *inbox.Inbox, source inbox.Source, cfg inbox.ConsumerConfig, applied int64) {
	b.Helper()
	c, err := inbox.NewConsumer(in, source, record, cfg)
	if err != nil {
		b.Fatal(err)
	}
	r := start(b, c)
	testenv.Eventually(b, 5*time.Minute, "the queue to be drained", func() bool {
		h := c.Health()
		return h.State == inbox.Running && h.Applied == applied && (applied == 0 || h.Applied+h.Duplicates == benchMessages)
	})
	r.stop()
}

// publishBench fills the queue and returns how many messages are no copies.
func publishBench(b *testing.B, ch *amqp.Channel, queue string, round int) (applied int) {
	b.Helper()
	body := []byte(strings.Repeat("x", 512))
	var last *amqp.DeferredConfirmation
	for i := range benchMessages {
		n := i
		if i%10 == 9 {
			n = i - 5
		} else {
			applied++
		}
		var err error
		last, err = ch.PublishWithDeferredConfirm("", queue, false, false, amqp.Publishing{
			MessageId: fmt.Sprintf("%s-%d-%d", queue, round, n), Type: "OrderCreated", ContentType: "application/json",
			DeliveryMode: amqp.Persistent, Body: body,
			Headers: amqp.Table{"pulse-topic": "order.created", "pulse-key": fmt.Sprint("customer-", n%1000)},
		})
		if err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 {
			last.Wait()
		}
	}
	last.Wait()
	return applied
}

func benchChannel(b *testing.B, url string) *amqp.Channel {
	b.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() }) // the measurement is over
	ch, err := conn.Channel()
	if err != nil {
		b.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		b.Fatal(err)
	}
	return ch
}
