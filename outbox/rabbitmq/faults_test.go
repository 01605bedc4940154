package rabbitmq_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

const topic = "order.created"

// impatient is a confirm timeout short enough for a test to run into it, and longer than a
// broker takes that works, on a busy machine.
const impatient = 500 * time.Millisecond

func TestPublisherConfirmsLost(t *testing.T) {
	b, proxy := newProxiedBroker(t)
	b.queue(t, topic, nil)
	cfg := b.config(t)
	cfg.ConfirmTimeout = impatient
	p := newPublisher(t, cfg)
	wantPublished(t, p.Publish(t.Context(), newMessages(topic, 5)))

	proxy.Silence()
	msgs := newMessages(topic, 5)
	text := wantEach(t, p.Publish(t.Context(), msgs), outbox.ErrUnavailable)
	if !strings.Contains(text, "no confirm in time") {
		t.Errorf("text %q does not say what was waited for", text)
	}
	proxy.Restore()
	wantPublished(t, publishSoon(t, p, msgs))
	for i, d := range b.take(t, topic, 15)[5:] {
		if want := msgs[i%5].ID.String(); d.MessageId != want {
			t.Errorf("copy %d has id %s, want %s", i, d.MessageId, want)
		}
	}
}

func TestPublisherBlocked(t *testing.T) {
	b, proxy := newProxiedBroker(t)
	b.queue(t, topic, nil)
	cfg := b.config(t)
	cfg.ConfirmTimeout = impatient
	p := newPublisher(t, cfg)
	wantPublished(t, p.Publish(t.Context(), newMessages(topic, 5)))

	proxy.Block("low on memory")
	for range 3 { // a relay tries again and again
		var calls sync.WaitGroup
		for range 4 {
			calls.Go(func() {
				text := wantEach(t, p.Publish(t.Context(), newMessages(topic, 100)), outbox.ErrUnavailable)
				if !strings.Contains(text, "low on memory") {
					t.Errorf("text %q lacks the broker's reason", text)
				}
			})
		}
		calls.Wait()
	}
	if connected, err := p.Health(); !connected || err == nil || !strings.Contains(err.Error(), "low on memory") {
		t.Errorf("health: connected %v, error %v", connected, err)
	}
	if n := proxy.Connections(); n != 1 {
		t.Errorf("%d connections to a blocking broker, want 1", n)
	}

	proxy.Restore()
	wantPublished(t, publishSoon(t, p, newMessages(topic, 2000)))
	if connected, err := p.Health(); !connected || err != nil {
		t.Errorf("health afterwards: connected %v, error %v", connected, err)
	}
}

// A broker tells a connection that it blocks only after the first message, so
// that no more than that one of a batch may be sent.
func TestPublisherBlockedBeforeConnecting(t *testing.T) {
	b, proxy := newProxiedBroker(t)
	b.queue(t, topic, nil)
	proxy.Block("low on disk")
	cfg := b.config(t)
	cfg.ConfirmTimeout = impatient
	p := newPublisher(t, cfg)
	msgs := newMessages(topic, 50)
	for range 3 {
		wantEach(t, p.Publish(t.Context(), msgs), outbox.ErrUnavailable)
	}
	proxy.Restore()
	last := newMessages(topic, 1)
	wantPublished(t, publishSoon(t, p, last))
	for d := b.take(t, topic, 1)[0]; d.MessageId != last[0].ID.String(); d = b.take(t, topic, 1)[0] {
		if d.MessageId != msgs[0].ID.String() {
			t.Errorf("message %s was poured out before the alarm was told", d.MessageId)
		}
	}
}

// The peer accepts no more bytes and sends nothing: the write itself is stuck.
func TestPublisherStuckWrite(t *testing.T) {
	b, proxy := newProxiedBroker(t)
	b.queue(t, topic, nil)
	p := b.publisher(t)
	wantPublished(t, p.Publish(t.Context(), newMessages(topic, 5)))

	proxy.Stall()
	msgs := newMessages(topic, 40)
	for i := range msgs {
		msgs[i].Payload = bytes.Repeat([]byte{byte(i)}, 1<<20)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), impatient, errors.New("patience is over"))
	defer cancel()
	if text := wantEach(t, p.Publish(ctx, msgs), outbox.ErrUnavailable); !strings.Contains(text, "patience is over") {
		t.Errorf("text %q does not give the cause of the context's end", text)
	}
	proxy.Restore()
	wantPublished(t, publishSoon(t, p, newMessages(topic, 5)))
}

// A message at fault is found by sending messages again one by one. Without a
// broker none is at fault.
func TestPublisherBrokerGoneWhileIsolating(t *testing.T) {
	b, proxy := newProxiedBroker(t)
	b.queue(t, topic, nil)
	p := b.publisher(t)
	wantPublished(t, p.Publish(t.Context(), newMessages(topic, 1)))
	proxy.Refuse()
	msgs := newMessages(topic, 20)
	msgs[10].Headers = map[string]string{"CC": "not a list"}
	for i, err := range p.Publish(t.Context(), msgs) {
		if i >= 10 || err != nil { // the broker may have confirmed some before
			wantEach(t, []error{err}, outbox.ErrUnavailable)
		}
	}
	proxy.Restore()
	results := p.Publish(t.Context(), msgs)
	wantEach(t, results[10:11], outbox.ErrPermanent)
	results[10] = nil
	wantPublished(t, results)
}

func TestPublisherCloseEndsCalls(t *testing.T) {
	b, proxy := newProxiedBroker(t)
	b.queue(t, topic, nil)
	p := b.publisher(t)
	wantPublished(t, p.Publish(t.Context(), newMessages(topic, 1)))
	proxy.Silence()
	var calls sync.WaitGroup
	started := make(chan struct{}, 4)
	for range 4 {
		calls.Go(func() {
			started <- struct{}{}
			wantEach(t, p.Publish(t.Context(), newMessages(topic, 10)), outbox.ErrUnavailable)
		})
		<-started
	}
	if err := p.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	calls.Wait()
	wantEach(t, p.Publish(t.Context(), newMessages(topic, 1)), outbox.ErrUnavailable)
	if connected, err := p.Health(); connected || err == nil {
		t.Errorf("health of a closed publisher: %v, %v", connected, err)
	}
	testenv.Eventually(t, patience, "the connection to be gone", func() bool { return proxy.Connections() == 0 })
}

// With fewer channels than callers each call gets a channel in turn.
func TestPublisherMoreCallsThanChannels(t *testing.T) {
	b := newBroker(t)
	b.queue(t, topic, nil)
	cfg := b.config(t)
	cfg.Channels, cfg.Window = 1, 3
	p := newPublisher(t, cfg)
	var calls sync.WaitGroup
	for range 10 {
		calls.Go(func() { wantPublished(t, p.Publish(t.Context(), newMessages(topic, 20))) })
	}
	calls.Wait()
	b.take(t, topic, 200)
	b.empty(t, topic)
}
