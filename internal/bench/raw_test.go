package bench

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// window is the maximum number of unconfirmed messages, on either side.
const window = 1000

// broker is the bare AMQP library on one channel, with an exchange and a queue
// to send to.
type broker struct {
	b               *testing.B
	url             string
	channel         *amqp.Channel
	exchange, queue string
}

func newBroker(b *testing.B, queueType inboxrabbit.QueueType) *broker {
	b.Helper()
	return newBrokerAt(b, testenv.RabbitMQ(b), queueType)
}

func newBrokerAt(b *testing.B, url string, queueType inboxrabbit.QueueType) *broker {
	b.Helper()
	r := &broker{
		b: b, url: url,
		exchange: testenv.UniqueName(b, "pulse.bench"), queue: testenv.UniqueName(b, "bench"),
	}
	conn, err := amqp.Dial(r.url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() }) // the measurement is over
	r.channel, err = conn.Channel()
	r.must(err)
	r.must(r.channel.Confirm(false))
	r.must(r.channel.ExchangeDeclare(r.exchange, amqp.ExchangeTopic, true, false, false, false, nil))
	_, err = r.channel.QueueDeclare(r.queue, true, false, false, false, amqp.Table{"x-queue-type": queueType.String()})
	r.must(err)
	r.must(r.channel.QueueBind(r.queue, topic, r.exchange, false, nil))
	return r
}

func (r *broker) must(err error) {
	r.b.Helper()
	if err != nil {
		r.b.Fatal(err)
	}
}

// encode converts messages to the AMQP library's type, as the publisher sends
// them.
func (r *broker) encode(msgs []outbox.Message) []rabbit.Publishing {
	publishings := make([]rabbit.Publishing, len(msgs))
	for i, m := range msgs {
		publishings[i] = rabbit.NewPublishing(wire.Message{
			ID: m.ID.String(), Topic: m.Topic, Type: m.Topic, Key: m.Key, Seq: int64(i + 1), ContentType: wire.DefaultContentType,
			CorrelationID: m.ID.String(), Producer: "bench", OccurredAt: m.OccurredAt, Payload: m.Payload,
		}, r.exchange, m.Topic)
	}
	return publishings
}

// publish sends publishings with at most inFlight of them unconfirmed, and
// returns when all are confirmed.
func (r *broker) publish(publishings []rabbit.Publishing, inFlight int) {
	r.b.Helper()
	var waiting []*amqp.DeferredConfirmation
	settle := func() {
		if !waiting[0].Wait() {
			r.b.Fatal("nacked")
		}
		waiting = waiting[1:]
	}
	for i := range publishings {
		if len(waiting) == inFlight {
			settle()
		}
		p := &publishings[i]
		confirm, err := r.channel.PublishWithDeferredConfirm(p.Exchange, p.Key, false, false, p.Publishing)
		r.must(err)
		waiting = append(waiting, confirm)
	}
	for len(waiting) > 0 {
		settle()
	}
}

// consume takes n messages off the queue, with the prefetch of a consumer's
// defaults and one acknowledgement for each hundred.
func (r *broker) consume(n int) {
	r.b.Helper()
	const prefetch, batch = 300, 100
	conn, err := amqp.Dial(r.url)
	r.must(err)
	defer conn.Close()
	channel, err := conn.Channel()
	r.must(err)
	r.must(channel.Qos(prefetch, 0, false))
	deliveries, err := channel.Consume(r.queue, "", false, false, false, false, nil)
	r.must(err)
	for i := 1; i <= n; i++ {
		d, open := <-deliveries
		if !open {
			r.b.Fatal("the subscription has ended")
		}
		if i%batch == 0 || i == n {
			r.must(d.Ack(true))
		}
	}
	r.must(channel.Close()) // the acknowledgements have arrived
}

// take empties the queue, which must contain want messages.
func (r *broker) take(want int) {
	r.b.Helper()
	n, err := r.channel.QueuePurge(r.queue, false)
	r.must(err)
	if n != want {
		r.b.Fatalf("the queue holds %d messages, want %d", n, want)
	}
}
