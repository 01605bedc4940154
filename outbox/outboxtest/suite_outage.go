package outboxtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
)

func testContextEnded(t *testing.T, h PublisherHarness) {
	p, topic := h.New(t), newTopic()
	h.Bind(t, topic)
	msgs := newMessages(topic, 100)
	mustPublish(t, p, msgs[:1])
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	results := p.Publish(ended, msgs)
	if len(results) != len(msgs) {
		t.Fatalf("Publish answered %d results for %d messages", len(results), len(msgs))
	}
	for _, err := range results {
		if err != nil {
			wantClass(t, "ctx has ended", err, outbox.ErrUnavailable)
		}
	}
	eventuallyPublish(t, p, msgs)
}

func testBrokerStopped(t *testing.T, h PublisherHarness) {
	if h.Features.Stop == nil {
		t.Skip("the harness has no Stop: outages are not tested")
	}
	p, topic := h.New(t), newTopic()
	h.Bind(t, topic)
	mustPublish(t, p, newMessages(topic, 10))

	start := h.Features.Stop(t)
	msgs := newMessages(topic, 50)
	for _, err := range publish(t, p, msgs) {
		wantClass(t, "broker stopped", err, outbox.ErrUnavailable)
	}
	start()
	eventuallyPublish(t, p, msgs)
	wantAllArrived(t, h, topic, msgs)
}

func testBrokerDownAtStart(t *testing.T, h PublisherHarness) {
	if h.Features.Stop == nil {
		t.Skip("the harness has no Stop: starting without a broker is not tested")
	}
	topic := newTopic()
	h.Bind(t, topic)
	start := h.Features.Stop(t)
	p := h.New(t)
	msgs := newMessages(topic, 5)
	err := errors.Join(publish(t, p, msgs)...)
	wantClass(t, "broker down", err, outbox.ErrUnavailable)
	start()
	eventuallyPublish(t, p, msgs)
	wantAllArrived(t, h, topic, msgs)
}

func testBrokerBlocks(t *testing.T, h PublisherHarness) {
	if h.Features.Block == nil {
		t.Skip("the harness has no Block: a broker short of memory is not tested")
	}
	p, topic := h.New(t), newTopic()
	h.Bind(t, topic)
	mustPublish(t, p, newMessages(topic, 1))
	unblock := h.Features.Block(t)
	msgs := newMessages(topic, 100)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for _, err := range p.Publish(ctx, msgs) {
		wantClass(t, "broker blocks", err, outbox.ErrUnavailable)
	}
	unblock()
	eventuallyPublish(t, p, msgs)
	wantAllArrived(t, h, topic, msgs)
}

func testSilentTopic(t *testing.T, h PublisherHarness) {
	if h.Features.Silence == nil {
		t.Skip("the harness has no Silence: that one topic does not stop the others is not tested")
	}
	p, topic, silent := h.New(t), newTopic(), newTopic()
	h.Bind(t, topic)
	h.Bind(t, silent)
	mustPublish(t, p, newMessages(topic, 1))
	mustPublish(t, p, newMessages(silent, 1))

	speak := h.Features.Silence(t, silent)
	msgs := newMessages(topic, 300)
	var waiting, others []outbox.Message
	for i := range msgs {
		if i%3 == 0 {
			msgs[i].Topic = silent
			waiting = append(waiting, msgs[i])
		} else {
			others = append(others, msgs[i])
		}
	}
	for i, err := range publish(t, p, msgs) {
		if msgs[i].Topic == silent {
			wantClass(t, "topic without verdicts", err, outbox.ErrUnavailable)
		} else if err != nil {
			t.Errorf("message %d of another topic: %v", i, err)
		}
	}
	more := newMessages(topic, 50)
	mustPublish(t, p, more)
	for _, err := range publish(t, p, waiting[:1]) {
		wantClass(t, "topic without verdicts, again", err, outbox.ErrUnavailable)
	}
	if pinger, ok := p.(outbox.Pinger); ok {
		if err := pinger.Ping(t.Context()); err != nil {
			t.Errorf("ping of a broker that answers on other topics: %v", err)
		}
	}
	h.Receive(t, topic, 1)
	wantArrived(t, h, topic, append(others, more...))
	speak()
	eventuallyPublish(t, p, waiting)
	wantAllArrived(t, h, silent, waiting)
}

// wantAllArrived takes messages off topic until each of msgs has come: where
// verdicts were lost, copies are allowed.
func wantAllArrived(t *testing.T, h PublisherHarness, topic string, msgs []outbox.Message) {
	t.Helper()
	missing := make(map[string]bool)
	for _, m := range msgs {
		missing[m.ID.String()] = true
	}
	for len(missing) > 0 {
		for _, m := range h.Receive(t, topic, 1) {
			delete(missing, m.ID.String())
		}
	}
}
