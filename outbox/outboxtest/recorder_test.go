package outboxtest_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/outboxtest"
)

func TestRecorderOutcomePrecedence(t *testing.T) {
	var rec outboxtest.Recorder
	m := outbox.NewMessage("order.created", []byte(`{}`))
	publish := func(ctx context.Context) error { return rec.Publish(ctx, []outbox.Message{m})[0] }

	rec.Respond(func(_ outbox.Message, try int) error {
		if try < 5 {
			return outbox.Permanent(nil)
		}
		return nil
	})
	rec.FailNext(outbox.Rejected(nil))
	rec.SetDown(errors.New("cable cut"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()

	if err := publish(ended); !outbox.IsUnavailable(err) || !errors.Is(err, context.Canceled) {
		t.Errorf("ctx has ended: %v", err)
	}
	if err := publish(t.Context()); !outbox.IsUnavailable(err) {
		t.Errorf("down: %v", err)
	}
	rec.SetDown(nil)
	if err := publish(t.Context()); !errors.Is(err, outbox.ErrRejected) {
		t.Errorf("FailNext: %v", err)
	}
	if err := publish(t.Context()); !outbox.IsPermanent(err) {
		t.Errorf("Respond, fourth try: %v", err)
	}
	if err := publish(t.Context()); err != nil {
		t.Errorf("Respond, fifth try: %v", err)
	}
	if got := len(rec.Attempts()); got != 5 {
		t.Errorf("%d attempts, want 5", got)
	}
	if got := len(rec.Published()); got != 1 {
		t.Errorf("%d published, want 1", got)
	}
}

func TestRecorderKeepsCopies(t *testing.T) {
	var rec outboxtest.Recorder
	m := outbox.NewMessage("order.created", []byte("before"))
	m.Headers = map[string]string{"tenant": "a"}
	rec.Publish(t.Context(), []outbox.Message{m})
	copy(m.Payload, "after!")
	m.Headers["tenant"] = "b"
	if got := rec.Published()[0]; string(got.Payload) != "before" || got.Headers["tenant"] != "a" {
		t.Errorf("payload %q, tenant %q: the caller's changes show", got.Payload, got.Headers["tenant"])
	}
}

func TestRecorderWaitsForPublishers(t *testing.T) {
	var rec outboxtest.Recorder
	const publishers, each = 8, 25
	var wg sync.WaitGroup
	for range publishers {
		wg.Go(func() {
			for range each {
				rec.Publish(context.Background(), []outbox.Message{outbox.NewMessage("order.created", nil)})
			}
		})
	}
	if got := len(rec.WaitFor(t, publishers*each)); got != publishers*each {
		t.Errorf("%d messages, want %d", got, publishers*each)
	}
	wg.Wait()
}
