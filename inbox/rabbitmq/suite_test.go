package rabbitmq_test

import (
	"context"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

func TestSourceSuite(t *testing.T) {
	t.Parallel()
	for _, broker := range []struct {
		name string
		url  func(*testing.T) string
	}{
		{"RabbitMQ", func(t *testing.T) string { return testenv.RabbitMQ(t) }},
		{"devbroker", func(t *testing.T) string { return devbroker.NewTest(t).URL() }},
	} {
		for _, queueType := range []rabbitmq.QueueType{rabbitmq.Quorum, rabbitmq.Classic} {
			t.Run(broker.name+" "+queueType.String(), func(t *testing.T) {
				t.Parallel()
				inboxtest.RunSourceSuite(t, func(t *testing.T) inboxtest.SourceHarness {
					return newHarness(t, broker.url(t), queueType)
				})
			})
		}
	}
}

// newHarness lets sources reach the broker through a proxy, which can be cut.
func newHarness(t *testing.T, url string, queueType rabbitmq.QueueType) inboxtest.SourceHarness {
	r := newRigAt(t, url, func(c *rabbitmq.SourceConfig) {
		c.QueueType = queueType
		c.Topics = []string{"order.created"}
	})
	ctx, cancel := context.WithCancel(t.Context())
	r.consumeUntil(ctx, 1) // sets the queues up
	r.end(cancel)
	proxy := rabbittest.NewProxy(t, url)
	cfg := r.cfg
	cfg.URL = proxy.URL()

	var sources []*rabbitmq.Source
	depth := -1
	t.Cleanup(func() { // after the sources have closed
		// A quorum queue may lose acknowledgements that it got just before.
		if depth >= 0 && queueType == rabbitmq.Classic {
			r.awaitDepth(r.names.Queue, depth)
		}
	})
	var letters []inboxtest.DeadLetter
	return inboxtest.SourceHarness{
		Open: func(t *testing.T) inbox.Source {
			source, err := rabbitmq.NewSource(cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = source.Close() }) // never fails
			sources = append(sources, source)
			return source
		},
		Publish: func(t *testing.T, m inbox.Message) {
			p := rabbit.NewPublishing(wire.Message{
				ID: m.ID, Topic: m.Topic, Type: m.Type, Version: m.Version, Key: m.Key, Seq: m.Seq, ContentType: m.ContentType, ContentEncoding: m.ContentEncoding,
				CorrelationID: m.CorrelationID, CausationID: m.CausationID, Producer: m.Producer,
				OccurredAt: m.OccurredAt, Headers: m.Headers, Payload: m.Payload,
			}, cfg.Exchange, m.Topic)
			r.publishTo(p.Exchange, p.Key, m.ID, func(raw *amqp.Publishing) { *raw = p.Publishing })
		},
		PublishUndecodable: func(t *testing.T, body []byte) {
			r.publish("", func(p *amqp.Publishing) { p.Body = body })
		},
		// The protocol tells only what is ready. What is handed out is
		// counted by the sources, which the cleanup above compares with what
		// the broker has once they are closed.
		Depth: func(t *testing.T) int {
			depth = r.depth(r.names.Queue)
			for _, source := range sources {
				depth += rabbitmq.Unsettled(source)
			}
			return depth
		},
		DeadLetters: func(t *testing.T) []inboxtest.DeadLetter {
			for r.depth(r.names.DeadLetters) > 0 {
				d := r.get(r.names.DeadLetters)
				f := rabbitmq.ReadFailures(d.Headers)
				letters = append(letters, inboxtest.DeadLetter{
					ID: d.MessageId, Body: d.Body, Reason: f.Reason, Attempts: f.Attempts, LastError: f.LastError,
				})
			}
			return letters
		},
		MoveBack:    func(*testing.T) { r.moveBack(r.names.DeadLetters) },
		Delay:       r.names.Retry[0].Delay,
		Disconnect:  func(*testing.T) { proxy.Cut(); proxy.Restore() },
		StopBroker:  func(*testing.T) { proxy.Cut() },
		StartBroker: func(*testing.T) { proxy.Restore() },
	}
}
