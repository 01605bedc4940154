package rabbitmq_test

import (
	"log/slog"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

const (
	benchPrefetch = 300
	benchBatch    = 100
)

// BenchmarkConsume takes 512-byte messages off a queue and acknowledges them:
// with the plain client, one multiple acknowledgement for each hundred, which
// is the ceiling; and with a Source that settles in batches and one by one.
func BenchmarkConsume(b *testing.B) {
	for _, queueType := range []rabbitmq.QueueType{rabbitmq.Quorum, rabbitmq.Classic} {
		b.Run(queueType.String()+"/plain", func(b *testing.B) { benchPlain(b, fillQueue(b, queueType)) })
		b.Run(queueType.String()+"/source batched", func(b *testing.B) { benchSource(b, fillQueue(b, queueType), benchBatch) })
		b.Run(queueType.String()+"/source single", func(b *testing.B) { benchSource(b, fillQueue(b, queueType), 1) })
	}
}

// fillQueue publishes b.N messages and returns how to consume them.
func fillQueue(b *testing.B, queueType rabbitmq.QueueType) rabbitmq.SourceConfig {
	cfg := rabbitmq.SourceConfig{
		URL: testenv.RabbitMQ(b), Queue: testenv.UniqueName(b, "bench"), Topology: rabbitmq.None,
		Logger: slog.New(slog.DiscardHandler),
	}
	ch := benchChannel(b, cfg.URL)
	if _, err := ch.QueueDeclare(cfg.Queue, true, false, false, false, amqp.Table{"x-queue-type": queueType.String()}); err != nil {
		b.Fatal(err)
	}
	body := []byte(strings.Repeat("x", 512))
	var last *amqp.DeferredConfirmation
	for i := range b.N {
		var err error
		last, err = ch.PublishWithDeferredConfirm("", cfg.Queue, false, false, amqp.Publishing{
			MessageId: "e1", Type: "OrderCreated", DeliveryMode: amqp.Persistent, Body: body,
			Headers: amqp.Table{"pulse-topic": "order.created", "pulse-key": "customer-1"},
		})
		if err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 {
			last.Wait()
		}
	}
	last.Wait()
	return cfg
}

func benchChannel(b *testing.B, url string) *amqp.Channel {
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

func benchPlain(b *testing.B, cfg rabbitmq.SourceConfig) {
	ch := benchChannel(b, cfg.URL)
	if err := ch.Qos(benchPrefetch, 0, false); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	deliveries, err := ch.Consume(cfg.Queue, "", false, false, false, false, nil)
	if err != nil {
		b.Fatal(err)
	}
	for i := range b.N {
		d := <-deliveries
		if (i+1)%benchBatch == 0 || i+1 == b.N {
			if err := d.Ack(true); err != nil {
				b.Fatal(err)
			}
		}
	}
	reportRate(b)
}

func benchSource(b *testing.B, cfg rabbitmq.SourceConfig, batch int) {
	source, err := rabbitmq.NewSource(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer source.Close()
	b.ResetTimer()
	deliveries, err := source.Consume(b.Context(), benchPrefetch)
	if err != nil {
		b.Fatal(err)
	}
	var settlements []inbox.Settlement
	for i := range b.N {
		settlements = append(settlements, inbox.Settlement{Delivery: <-deliveries})
		if len(settlements) == batch || i+1 == b.N {
			for _, err := range source.Settle(b.Context(), settlements) {
				if err != nil {
					b.Fatal(err)
				}
			}
			settlements = settlements[:0]
		}
	}
	reportRate(b)
}

func reportRate(b *testing.B) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}
