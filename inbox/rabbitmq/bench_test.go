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
	benchMessages = 20_000 // one operation
	benchPrefetch = 300
	benchBatch    = 100
)

// BenchmarkConsume takes 512-byte messages off a queue and acknowledges them:
// with the plain client, one multiple acknowledgement for each hundred, which
// is the ceiling; and with a Source that settles in batches and one by one.
func BenchmarkConsume(b *testing.B) {
	for _, queueType := range []rabbitmq.QueueType{rabbitmq.Quorum, rabbitmq.Classic} {
		for _, way := range []struct {
			name  string
			drain func(*testing.B, rabbitmq.SourceConfig)
		}{
			{"plain", drainPlain},
			{"source batched", func(b *testing.B, cfg rabbitmq.SourceConfig) { drainSource(b, cfg, benchBatch) }},
			{"source single", func(b *testing.B, cfg rabbitmq.SourceConfig) { drainSource(b, cfg, 1) }},
		} {
			b.Run(queueType.String()+"/"+way.name, func(b *testing.B) {
				cfg, ch := benchQueue(b, queueType)
				for b.Loop() {
					b.StopTimer()
					fill(b, ch, cfg.Queue)
					b.StartTimer()
					way.drain(b, cfg)
				}
				b.ReportMetric(float64(b.N)*benchMessages/b.Elapsed().Seconds(), "msgs/s")
			})
		}
	}
}

func benchQueue(b *testing.B, queueType rabbitmq.QueueType) (rabbitmq.SourceConfig, *amqp.Channel) {
	cfg := rabbitmq.SourceConfig{
		URL: testenv.RabbitMQ(b), Queue: testenv.UniqueName(b, "bench"), Topology: rabbitmq.None,
		Logger: slog.New(slog.DiscardHandler),
	}
	ch := benchChannel(b, cfg.URL)
	if _, err := ch.QueueDeclare(cfg.Queue, true, false, false, false, amqp.Table{"x-queue-type": queueType.String()}); err != nil {
		b.Fatal(err)
	}
	return cfg, ch
}

func fill(b *testing.B, ch *amqp.Channel, queue string) {
	body := []byte(strings.Repeat("x", 512))
	var last *amqp.DeferredConfirmation
	for i := range benchMessages {
		var err error
		last, err = ch.PublishWithDeferredConfirm("", queue, false, false, amqp.Publishing{
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

func drainPlain(b *testing.B, cfg rabbitmq.SourceConfig) {
	ch := benchChannel(b, cfg.URL)
	defer ch.Close()
	if err := ch.Qos(benchPrefetch, 0, false); err != nil {
		b.Fatal(err)
	}
	deliveries, err := ch.Consume(cfg.Queue, "", false, false, false, false, nil)
	if err != nil {
		b.Fatal(err)
	}
	for i := range benchMessages {
		d := <-deliveries
		if (i+1)%benchBatch == 0 || i+1 == benchMessages {
			if err := d.Ack(true); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func drainSource(b *testing.B, cfg rabbitmq.SourceConfig, batch int) {
	source, err := rabbitmq.NewSource(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer source.Close()
	deliveries, err := source.Consume(b.Context(), benchPrefetch)
	if err != nil {
		b.Fatal(err)
	}
	var settlements []inbox.Settlement
	for i := range benchMessages {
		settlements = append(settlements, inbox.Settlement{Delivery: <-deliveries, Action: inbox.ActionAck})
		if len(settlements) == batch || i+1 == benchMessages {
			for _, err := range source.Settle(b.Context(), settlements) {
				if err != nil {
					b.Fatal(err)
				}
			}
			settlements = settlements[:0]
		}
	}
}
