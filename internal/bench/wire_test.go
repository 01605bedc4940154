package bench

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// wirePrice is a way to publish, whose price is measured.
type wirePrice struct {
	name      string
	direct    bool // through a direct exchange
	mandatory bool
	bursts    bool                   // by the publisher's connection, which collects messages
	inFlight  int                    // 0: window
	set       func(*amqp.Publishing) // nil: nothing
}

// withHeader sets a header as publishers do.
func withHeader(name string, value func(*amqp.Publishing) any) func(*amqp.Publishing) {
	return func(p *amqp.Publishing) {
		if p.Headers == nil {
			p.Headers = make(amqp.Table)
		}
		p.Headers[name] = value(p)
	}
}

func wirePrices() []wirePrice {
	sameID := func(p *amqp.Publishing) any { return p.MessageId }
	headers := map[string]func(*amqp.Publishing) any{
		wire.HeaderTopic:         func(*amqp.Publishing) any { return topic },
		wire.HeaderCorrelationID: sameID,
		wire.HeaderKey:           sameID,
		wire.HeaderSeq:           func(*amqp.Publishing) any { return int64(123_456) },
		wire.HeaderOccurredAt:    func(*amqp.Publishing) any { return time.Now().UTC().Format(time.RFC3339Nano) },
	}
	properties := func(p *amqp.Publishing) {
		p.Type, p.AppId, p.CorrelationId, p.Timestamp = topic, "bench", p.MessageId, time.Now()
	}
	prices := []wirePrice{
		{name: "message_id and content_type"},
		{name: "direct exchange", direct: true},
		{name: "mandatory", mandatory: true},
		{name: "not persistent", set: func(p *amqp.Publishing) { p.DeliveryMode = amqp.Transient }},
		{name: "type, app_id, correlation_id, timestamp", set: properties},
	}
	names := []string{wire.HeaderTopic, wire.HeaderCorrelationID, wire.HeaderKey, wire.HeaderSeq, wire.HeaderOccurredAt}
	for _, name := range names {
		prices = append(prices, wirePrice{name: name, set: withHeader(name, headers[name])})
	}
	with := func(names ...string) func(*amqp.Publishing) {
		return func(p *amqp.Publishing) {
			properties(p)
			for _, name := range names {
				withHeader(name, headers[name])(p)
			}
		}
	}
	return append(prices,
		wirePrice{name: "all properties and headers, mandatory", mandatory: true, set: with(names...)},
		wirePrice{name: "as published: without pulse-topic, mandatory", mandatory: true, set: with(names[1:]...)},
		wirePrice{name: "the same, collected in bursts", mandatory: true, bursts: true, set: with(names[1:]...)},
		wirePrice{name: "window 500", inFlight: 500},
		wirePrice{name: "window 100", inFlight: 100},
	)
}

// BenchmarkWire measures what each part of a message costs on its way to a queue:
// processor time of the broker and of the bare client, and bytes. Each line adds
// one part to the first line. One operation is a turn of each.
func BenchmarkWire(b *testing.B) {
	messages := many(10_000)
	forQueueTypes(b, func(b *testing.B, queueType inboxrabbit.QueueType) {
		r := newBroker(b, queueType)
		u := newUsage(b, map[string]string{server: r.url})
		var bytes, writes int
		conn, err := amqp.DialConfig(r.url, amqp.Config{Dial: func(network, address string) (net.Conn, error) {
			c, err := net.Dial(network, address)
			return countingConn{c, &bytes, &writes}, err
		}})
		r.must(err)
		b.Cleanup(func() { conn.Close() }) // the measurement is over
		channel, err := conn.Channel()
		r.must(err)
		r.must(channel.Confirm(false))
		publisher, err := rabbit.Dial(b.Context(), rabbit.Config{URL: r.url, Logger: quiet})
		r.must(err)
		b.Cleanup(publisher.Close)
		confirmer, err := publisher.Confirmer(b.Context(), rabbit.ConfirmerConfig{Window: window, Stall: patience, BlockLimit: patience})
		r.must(err)
		direct := testenv.UniqueName(b, "direct")
		r.must(channel.ExchangeDeclare(direct, amqp.ExchangeDirect, true, false, false, false, nil))
		r.must(channel.QueueBind(r.queue, topic, direct, false, nil))

		prices := wirePrices()
		msgs := newMessages(messages)
		results := make([]turns, len(prices))
		sizes := make([]float64, len(prices))
		for b.Loop() {
			for n, price := range prices {
				publishings := make([]amqp.Publishing, messages)
				for i, m := range msgs {
					publishings[i] = amqp.Publishing{MessageId: m.ID.String(), ContentType: wire.DefaultContentType, DeliveryMode: amqp.Persistent, Body: m.Payload}
					if price.set != nil {
						price.set(&publishings[i])
					}
				}
				exchange := r.exchange
				if price.direct {
					exchange = direct
				}
				if price.bursts {
					all := make([]rabbit.Publishing, messages)
					for i := range all {
						all[i] = rabbit.Publishing{Exchange: exchange, Key: topic, Publishing: publishings[i]}
					}
					results[n].measure(u, messages, func() { r.must(errors.Join(confirmer.Publish(b.Context(), all)...)) })
					r.take(messages)
					continue
				}
				before := bytes
				results[n].measure(u, messages, func() {
					var waiting []*amqp.DeferredConfirmation
					for i := range publishings {
						if len(waiting) == cmp.Or(price.inFlight, window) {
							waiting[0].Wait()
							waiting = waiting[1:]
						}
						confirm, err := channel.PublishWithDeferredConfirm(exchange, topic, price.mandatory, false, publishings[i])
						r.must(err)
						waiting = append(waiting, confirm)
					}
					for _, confirm := range waiting {
						confirm.Wait()
					}
				})
				sizes[n] = float64(bytes-before) / float64(messages)
				r.take(messages)
			}
		}
		var table strings.Builder
		for n, price := range prices {
			fmt.Fprintf(&table, "\n| %s | %.1f | %.1f | %.0f | %.0f |", price.name, median(results[n].costs[server]), median(results[n].costs[here]), sizes[n], median(results[n].rates))
		}
		b.Logf("broker us/msg, client us/msg, bytes/msg, msgs/s:%s", table.String())
		hideTime(b)
	})
}
