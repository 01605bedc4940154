package outboxtest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/outbox"
)

func testNothing(t *testing.T, h PublisherHarness) {
	publish(t, h.New(t), nil)
}

func testRoundTrip(t *testing.T, h PublisherHarness) {
	p, topic := h.New(t), newTopic()
	h.Bind(t, topic)
	everyByte := make([]byte, 256)
	for i := range everyByte {
		everyByte[i] = byte(i)
	}
	full := outbox.Message{
		ID: uuid.New(), Topic: topic, Type: "OrderCreated", Key: "order-ß", Payload: everyByte,
		ContentType: "application/octet-stream", Headers: map[string]string{"tenant": "Łódź", "empty": ""},
		CorrelationID: "correlation-1", CausationID: "causation-1",
		OccurredAt: time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.UTC), Seq: 1 << 53,
	}
	bare := outbox.Message{ID: uuid.New(), Topic: topic, Type: "t", ContentType: "text/plain", OccurredAt: time.Unix(1, 0).UTC()}
	large := full
	large.ID, large.Payload = uuid.New(), bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	sent := []outbox.Message{full, bare, large}
	mustPublish(t, p, sent)
	for i, got := range h.Receive(t, topic, len(sent)) {
		compare(t, got, sent[i])
	}
}

func compare(t *testing.T, got, want outbox.Message) {
	t.Helper()
	if !bytes.Equal(got.Payload, want.Payload) {
		t.Errorf("payload of %d bytes arrived as %d other bytes", len(want.Payload), len(got.Payload))
	}
	if !maps.Equal(got.Headers, want.Headers) {
		t.Errorf("headers %v arrived as %v", want.Headers, got.Headers)
	}
	got.Payload, want.Payload, got.Headers, want.Headers = nil, nil, nil, nil
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Errorf("arrived as\n%s, was sent as\n%s", g, w)
	}
}

func testOrder(t *testing.T, h PublisherHarness) {
	p, topic := h.New(t), newTopic()
	h.Bind(t, topic)
	msgs := newMessages(topic, 2500) // more than are under way at once
	mustPublish(t, p, msgs)
	wantArrived(t, h, topic, msgs)
}

func testNotKept(t *testing.T, h PublisherHarness) {
	p, topic := h.New(t), newTopic()
	h.Bind(t, topic)
	msgs := newMessages(topic, 10)
	mustPublish(t, p, msgs)
	for i := range msgs {
		clear(msgs[i].Payload)
		msgs[i] = outbox.Message{}
	}
	for i, m := range h.Receive(t, topic, 10) {
		if want := fmt.Sprintf(`{"n":%d}`, i); string(m.Payload) != want {
			t.Errorf("payload %q, want %q: the caller's changes show", m.Payload, want)
		}
	}
}

func testTwice(t *testing.T, h PublisherHarness) {
	p, topic := h.New(t), newTopic()
	h.Bind(t, topic)
	m := newMessages(topic, 1)[0]
	msgs := []outbox.Message{m, m, m}
	mustPublish(t, p, msgs)
	wantArrived(t, h, topic, msgs)
}

func testConcurrent(t *testing.T, h PublisherHarness) {
	const calls, each = 16, 200
	p, topic := h.New(t), newTopic()
	h.Bind(t, topic)
	var wg sync.WaitGroup
	for call := range calls {
		msgs := newMessages(topic, each)
		for i := range msgs {
			msgs[i].Key = fmt.Sprint(call)
		}
		wg.Go(func() {
			for batch := range slices.Chunk(msgs, 50) {
				for _, err := range p.Publish(t.Context(), batch) {
					if err != nil {
						t.Errorf("call %d: %v", call, err)
					}
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	last := make(map[string]int64)
	for _, m := range h.Receive(t, topic, calls*each) {
		if m.Seq != last[m.Key]+1 {
			t.Fatalf("call %s: message %d came after %d", m.Key, m.Seq, last[m.Key])
		}
		last[m.Key] = m.Seq
	}
}

func testUnroutable(t *testing.T, h PublisherHarness) {
	p, topic := h.New(t), newTopic()
	msgs := newMessages(topic, 3)
	for _, err := range publish(t, p, msgs) {
		wantClass(t, "nothing is bound", err, outbox.ErrUnroutable)
	}
	unbind := h.Bind(t, topic)
	mustPublish(t, p, msgs)
	wantArrived(t, h, topic, msgs)
	unbind()
	for _, err := range publish(t, p, msgs) {
		wantClass(t, "nothing is bound any more", err, outbox.ErrUnroutable)
	}
}

func testUnroutableAmongOthers(t *testing.T, h PublisherHarness) {
	p, bound, unbound := h.New(t), newTopic(), newTopic()
	h.Bind(t, bound)
	msgs := newMessages(bound, 1500)
	var routable []outbox.Message
	for i := range msgs {
		if i%3 == 1 {
			msgs[i].Topic = unbound
		} else {
			routable = append(routable, msgs[i])
		}
	}
	for i, err := range publish(t, p, msgs) {
		if msgs[i].Topic == unbound {
			wantClass(t, "unbound topic", err, outbox.ErrUnroutable)
		} else if err != nil {
			t.Errorf("message %d with a bound topic: %v", i, err)
		}
	}
	wantArrived(t, h, bound, routable)
}

func testRefused(t *testing.T, h PublisherHarness) {
	if h.Features.BindRefusing == nil {
		t.Skip("the harness has no BindRefusing: what happens to refused messages is not tested")
	}
	p, topic, refusing := h.New(t), newTopic(), newTopic()
	h.Bind(t, topic)
	accept := h.Features.BindRefusing(t, refusing)
	msgs := newMessages(topic, 9)
	var accepted []outbox.Message
	for i := range msgs {
		if i%3 == 1 {
			msgs[i].Topic = refusing
		} else {
			accepted = append(accepted, msgs[i])
		}
	}
	for i, err := range publish(t, p, msgs) {
		if msgs[i].Topic == refusing {
			wantClass(t, "full queue", err, outbox.ErrRejected)
		} else if err != nil {
			t.Errorf("message %d to another queue: %v", i, err)
		}
	}
	wantArrived(t, h, topic, accepted)
	accept()
	mustPublish(t, p, msgs[1:2])
}

func testPoison(t *testing.T, h PublisherHarness) {
	if len(h.Features.Poison) == 0 {
		t.Skip("the harness has no Poison: that neighbours of a bad message are published is not tested")
	}
	for _, name := range slices.Sorted(maps.Keys(h.Features.Poison)) {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			p, topic := h.New(t), newTopic()
			h.Bind(t, topic)
			mustPublish(t, p, newMessages(topic, 1))
			msgs := newMessages(topic, 40)
			culprits, neighbours := []int{7, 30}, []outbox.Message(nil)
			for _, i := range culprits {
				h.Features.Poison[name](&msgs[i])
			}
			for i, err := range publish(t, p, msgs) {
				if slices.Contains(culprits, i) {
					wantClass(t, fmt.Sprintf("culprit %d", i), err, outbox.ErrPermanent)
				} else if neighbours = append(neighbours, msgs[i]); err != nil {
					t.Errorf("neighbour %d: %v", i, err)
				}
			}
			if !t.Failed() {
				wantAllArrived(t, h, topic, neighbours)
			}
			eventuallyPublish(t, p, newMessages(topic, 1)) // the publisher gets over it
		})
	}
}
