package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
)

var errSMTP = errors.New("mail server is full")

// TestConsumerVerdicts: in a batch of good messages one is handled as each case says,
// and no other is affected.
func TestConsumerVerdicts(t *testing.T) {
	for _, c := range []struct {
		name    string
		verdict func(attempt int) error
		retried []time.Duration // the delays asked of the source, in order
		dead    inbox.Reason    // empty: applied in the end
		lastErr string
	}{
		{"error until it works", func(attempt int) error {
			if attempt <= 2 {
				return errSMTP
			}
			return nil
		}, []time.Duration{1 * time.Microsecond, 2 * time.Microsecond}, "", ""},
		{"error for ever", func(int) error { return errSMTP },
			[]time.Duration{1 * time.Microsecond, 2 * time.Microsecond}, inbox.ReasonHandler, "mail server is full"},
		{"retry after", func(attempt int) error {
			if attempt == 1 {
				return fmt.Errorf("notify: %w", inbox.Retry(errSMTP, 7*time.Microsecond))
			}
			return nil
		}, []time.Duration{7 * time.Microsecond}, "", ""},
		{"retry counts", func(int) error { return inbox.Retry(nil, 7*time.Microsecond) },
			[]time.Duration{7 * time.Microsecond, 7 * time.Microsecond}, inbox.ReasonHandler, "asked to be retried"},
		{"dead letter", func(int) error { return fmt.Errorf("notify: %w", inbox.DeadLetter(errSMTP)) },
			nil, inbox.ReasonHandler, "notify: mail server is full"},
		{"dead letter without error", func(int) error { return inbox.DeadLetter(nil) },
			nil, inbox.ReasonHandler, "asked for the dead-letter queue"},
		{"contract", func(int) error { return inbox.DeadLetterFor(errors.New("amount is negative"), inbox.ReasonContract) },
			nil, inbox.ReasonContract, "amount is negative"},
		{"panic", func(int) error { panic("nil pointer") },
			[]time.Duration{1 * time.Microsecond, 2 * time.Microsecond}, inbox.ReasonHandler, "handler panicked: nil pointer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachKind(t, func(t *testing.T, url string, kind newConsumer) {
				in, db := newInbox(t, url)
				msgs := events(9, 1)
				culprit := msgs[4].ID
				var mu sync.Mutex
				runs := map[string]int{}
				handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
					if err := record(ctx, tx, msg); err != nil {
						return err
					}
					mu.Lock()
					defer mu.Unlock()
					runs[msg.ID]++
					if msg.ID == culprit {
						return c.verdict(msg.Attempt)
					}
					return nil
				}
				q := inboxtest.NewQueue()
				q.Publish(msgs...)
				consumer := kind.consume(t, in, db, q, handler, inbox.ConsumerConfig{Workers: 1, BatchSize: 9, Linger: 50 * time.Millisecond, MaxAttempts: 3,
					Backoff: func(failures int) time.Duration { return time.Duration(failures) * time.Microsecond }})
				q.WaitUntilEmpty(t)

				var retried []time.Duration
				for _, s := range q.Settled(inbox.ActionRetry) {
					retried = append(retried, s.Delay)
					if s.Delivery.Message.ID != culprit || s.Reason != inbox.ReasonHandler || s.Err == nil {
						t.Errorf("retried %+v", s)
					}
				}
				if fmt.Sprint(retried) != fmt.Sprint(c.retried) {
					t.Errorf("retried for %v, want %v", retried, c.retried)
				}
				dead := q.DeadLetters()
				if c.dead == "" {
					wantOnce(t, db, msgs)
				} else {
					wantOnce(t, db, append(msgs[:4:4], msgs[5:]...))
					if len(dead) != 1 || dead[0].Delivery.Message.ID != culprit || dead[0].Reason != c.dead ||
						!strings.Contains(dead[0].Err.Error(), c.lastErr) {
						t.Errorf("dead letters %+v, want %s for %s: %s", dead, culprit, c.dead, c.lastErr)
					}
				}
				// Settled first, counted then.
				eventually(t, "the settlements to be counted", func() bool {
					h := consumer.Health()
					return h.Retried == int64(len(c.retried)) && h.DeadLettered == int64(len(dead))
				})
				mu.Lock()
				defer mu.Unlock()
				for id, n := range runs {
					if id != culprit && n > 2 {
						t.Errorf("the neighbour %s ran %d times, want at most once in the batch and once alone", id, n)
					}
				}
			})
		})
	}
}

func TestConsumerDeadLettersUndecodable(t *testing.T) {
	eachKind(t, func(t *testing.T, url string, kind newConsumer) {
		in, db := newInbox(t, url)
		good := events(3, 3)
		q := inboxtest.NewQueue()
		q.Publish(good[0])
		q.Deliver(inbox.Delivery{Message: inbox.Message{Payload: []byte{0xff}}, Err: errors.New("property message_id is empty")})
		q.Publish(good[1])
		q.Publish(inbox.Message{ID: strings.Repeat("x", 256)}, inbox.Message{ID: "a\x00b"}, good[2])
		kind.consume(t, in, db, q, record, inbox.ConsumerConfig{Workers: 1})
		q.WaitUntilEmpty(t)
		wantOnce(t, db, good)
		dead := q.DeadLetters()
		if len(dead) != 3 {
			t.Fatalf("%d dead letters, want 3", len(dead))
		}
		for i, want := range []string{"message_id is empty", "256 bytes", "NUL"} {
			if dead[i].Reason != inbox.ReasonUndecodable || !strings.Contains(dead[i].Err.Error(), want) {
				t.Errorf("dead letter %d: %s, %v; want undecodable, %q", i, dead[i].Reason, dead[i].Err, want)
			}
		}
	})
}

func TestConsumerUnlimitedAttempts(t *testing.T) {
	eachKind(t, func(t *testing.T, url string, kind newConsumer) {
		in, db := newInbox(t, url)
		q := inboxtest.NewQueue()
		q.Publish(event(0))
		handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
			if msg.Attempt <= 25 {
				return errSMTP
			}
			return record(ctx, tx, msg)
		}
		kind.consume(t, in, db, q, handler, inbox.ConsumerConfig{MaxAttempts: inbox.Unlimited})
		q.WaitUntilEmpty(t)
		wantOnce(t, db, events(1, 1))
		if retried := len(q.Settled(inbox.ActionRetry)); retried != 25 {
			t.Errorf("retried %d times, want 25", retried)
		}
	})
}

func TestHandlerErrors(t *testing.T) {
	wrapped := fmt.Errorf("notify: %w", inbox.Retry(errSMTP, time.Second))
	if retry, ok := errors.AsType[*inbox.RetryError](wrapped); !ok || retry.After != time.Second || !errors.Is(wrapped, errSMTP) {
		t.Errorf("Retry: %+v, %t", retry, ok)
	}
	if dead, ok := errors.AsType[*inbox.DeadLetterError](inbox.DeadLetter(errSMTP)); !ok || dead.Reason != inbox.ReasonHandler || !errors.Is(dead, errSMTP) {
		t.Errorf("DeadLetter: %+v, %t", dead, ok)
	}
	if e, ok := errors.AsType[*inbox.UnavailableError](fmt.Errorf("notify: %w", inbox.Unavailable(errSMTP))); !ok || !errors.Is(e, errSMTP) {
		t.Errorf("Unavailable: %+v, %t", e, ok)
	}
}
