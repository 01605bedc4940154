package rabbitmq_test

import (
	"testing"

	"github.com/asimalizada/pulse-events/outbox/outboxtest"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

func TestPublisherSuiteOnDevBroker(t *testing.T) {
	dev := devbroker.NewTest(t)
	b := broker{url: dev.URL(), publisherURL: dev.URL(), exchange: "pulse.events"}
	h := b.harness()
	h.Features.Stop = func(t *testing.T) (start func()) {
		if err := dev.Down(); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := dev.Up(); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.Features.Block = func(t *testing.T) (unblock func()) {
		if err := dev.Inject(devbroker.Fault{Kind: devbroker.FaultBlockPublishers}); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := dev.Clear(devbroker.FaultBlockPublishers); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.Features.Silence = func(t *testing.T, topic string) (speak func()) {
		if err := dev.Inject(devbroker.Fault{Kind: devbroker.FaultStallQueues, Queue: topic}); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := dev.Clear(devbroker.FaultStallQueues); err != nil {
				t.Fatal(err)
			}
		}
	}
	outboxtest.RunPublisherSuite(t, h)
}
