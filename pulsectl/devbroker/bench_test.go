package devbroker_test

import (
	"strconv"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

const benchmarkBody = 512

// BenchmarkPublishConfirmed publishes persistent messages with confirms to a durable queue on disk, 256 outstanding.
func BenchmarkPublishConfirmed(b *testing.B) {
	ch, queue := benchmarkQueue(b)
	if err := ch.Confirm(false); err != nil {
		b.Fatal(err)
	}
	outstanding := make(chan *amqp.DeferredConfirmation, 256)
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		for d := range outstanding {
			if !d.Wait() {
				b.Error("nacked")
			}
		}
	}()
	publish := benchmarkPublisher(b, ch, queue)
	for b.Loop() {
		outstanding <- publish()
	}
	close(outstanding)
	<-collected
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

// BenchmarkConsume delivers and acknowledges one by one, with a prefetch of 256.
func BenchmarkConsume(b *testing.B) {
	ch, queue := benchmarkQueue(b)
	publish := benchmarkPublisher(b, ch, queue)
	if err := ch.Qos(256, 0, false); err != nil {
		b.Fatal(err)
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		b.Fatal(err)
	}
	const ahead = 1000 // the queue never runs empty, and never fills the memory
	for range ahead {
		publish()
	}
	for b.Loop() {
		publish()
		if err := (<-deliveries).Ack(false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

func benchmarkQueue(b *testing.B) (*amqp.Channel, string) {
	b.Helper()
	broker := devbroker.NewTest(b, func(c *devbroker.Config) { c.DataDir, c.MemoryLimit = b.TempDir(), 4<<30 })
	conn, err := amqp.Dial(broker.URL())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		b.Fatal(err)
	}
	q, err := ch.QueueDeclare("bench", true, false, false, false, nil)
	if err != nil {
		b.Fatal(err)
	}
	return ch, q.Name
}

func benchmarkPublisher(b *testing.B, ch *amqp.Channel, queue string) func() *amqp.DeferredConfirmation {
	body, n := make([]byte, benchmarkBody), 0
	return func() *amqp.DeferredConfirmation {
		n++
		d, err := ch.PublishWithDeferredConfirmWithContext(b.Context(), "", queue, true, false, amqp.Publishing{
			DeliveryMode: amqp.Persistent, MessageId: strconv.Itoa(n), Headers: amqp.Table{"n": int64(n)}, Body: body,
		})
		if err != nil {
			b.Fatal(err)
		}
		return d
	}
}
