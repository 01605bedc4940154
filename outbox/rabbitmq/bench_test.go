package rabbitmq_test

import (
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// BenchmarkPublisher measures the publisher beside the bare client with the
// same messages and the same window, in the same run: 512-byte bodies,
// persistent, confirmed. The
// ratio is what counts; the figures depend on the machine.
func BenchmarkPublisher(b *testing.B) {
	for _, queueType := range []string{"classic", "quorum"} {
		b.Run(queueType, func(b *testing.B) {
			const round, window, lanes = 8000, 1000, 4
			br := broker{url: testenv.RabbitMQ(b), exchange: testenv.UniqueName(b, "pulse.bench")}
			br.queue(b, topic, amqp.Table{"x-queue-type": queueType})
			p, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{
				URL: br.url, Exchange: br.exchange, Window: window, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			msgs := make([]outbox.Message, round)
			for i := range msgs {
				msgs[i] = outbox.NewMessage(topic, make([]byte, 512))
			}
			bare := newBareClient(b, br, window)
			purge := func() {
				br.do(b, func(ch *amqp.Channel) error { _, err := ch.QueuePurge(topic, false); return err })
			}
			bare.publish(b, msgs[:window]) // both sides warm
			publishInLanes(b, p, msgs[:window], lanes)
			purge()

			var client, publisher time.Duration
			for b.Loop() {
				client += timed(func() { bare.publish(b, msgs) })
				purge() // neither side writes behind the other's backlog
				publisher += timed(func() { publishInLanes(b, p, msgs, lanes) })
				purge()
			}
			rate := func(d time.Duration) float64 { return float64(round*b.N) / d.Seconds() }
			b.ReportMetric(rate(client), "client-msg/s")
			b.ReportMetric(rate(publisher), "publisher-msg/s")
			b.ReportMetric(rate(publisher)/rate(client), "ratio")
		})
	}
}

func timed(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// publishInLanes publishes as a relay does: several calls at once, of 500
// messages each.
func publishInLanes(b *testing.B, p *rabbitmq.Publisher, msgs []outbox.Message, lanes int) {
	var wg sync.WaitGroup
	for share := range slices.Chunk(msgs, len(msgs)/lanes) {
		wg.Go(func() {
			for batch := range slices.Chunk(share, 500) {
				for _, err := range p.Publish(b.Context(), batch) {
					if err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// bareClient is the AMQP library with pipelined confirms and nothing else.
type bareClient struct {
	channel  *amqp.Channel
	exchange string
	window   int
}

func newBareClient(b *testing.B, br broker, window int) bareClient {
	conn, err := amqp.Dial(br.url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	channel, err := conn.Channel()
	if err != nil {
		b.Fatal(err)
	}
	if err := channel.Confirm(false); err != nil {
		b.Fatal(err)
	}
	return bareClient{channel, br.exchange, window}
}

func (c bareClient) publish(b *testing.B, msgs []outbox.Message) {
	var inFlight []*amqp.DeferredConfirmation
	for i := range msgs {
		if len(inFlight) == c.window {
			inFlight[0].Wait()
			inFlight = inFlight[1:]
		}
		confirm, err := c.channel.PublishWithDeferredConfirm(c.exchange, msgs[i].Topic, true, false, amqp.Publishing{
			MessageId: msgs[i].ID.String(), DeliveryMode: amqp.Persistent, Headers: amqp.Table{wire.HeaderTopic: msgs[i].Topic},
			Body: msgs[i].Payload,
		})
		if err != nil {
			b.Fatal(err)
		}
		inFlight = append(inFlight, confirm)
	}
	for _, confirm := range inFlight {
		if !confirm.Wait() {
			b.Fatal("nacked")
		}
	}
}
