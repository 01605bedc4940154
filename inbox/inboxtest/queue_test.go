package inboxtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestQueueConforms(t *testing.T) {
	inboxtest.RunSourceSuite(t, func(t *testing.T) inboxtest.SourceHarness {
		q := inboxtest.NewQueue()
		return inboxtest.SourceHarness{
			Open:    func(*testing.T) inbox.Source { return q },
			Publish: func(_ *testing.T, msg inbox.Message) { q.Publish(msg) },
			PublishUndecodable: func(_ *testing.T, body []byte) {
				q.Deliver(inbox.Delivery{Message: inbox.Message{Payload: body}, Err: errors.New("no message id")})
			},
			Depth: func(*testing.T) int { return q.Ready() + q.Unsettled() },
			DeadLetters: func(*testing.T) (dead []inboxtest.DeadLetter) {
				for _, s := range q.DeadLetters() {
					m := s.Delivery.Message
					dead = append(dead, inboxtest.DeadLetter{ID: m.ID, Body: m.Payload, Reason: s.Reason,
						Attempts: s.Delivery.Failures + 1, LastError: s.Err.Error()})
				}
				return dead
			},
			MoveBack: func(*testing.T) {
				dead := q.DeadLetters()
				q.Publish(dead[len(dead)-1].Delivery.Message)
			},
			Delay:      20 * time.Millisecond,
			Disconnect: func(*testing.T) { q.Disconnect() },
		}
	})
}

// A message that goes from retrying to ready to held is in the queue all along.
func TestWaitUntilEmptyIsNotMisled(t *testing.T) {
	const rounds = 5000
	q := inboxtest.NewQueue()
	q.Publish(inbox.Message{ID: "1"})
	ctx, stop := context.WithCancel(t.Context())
	deliveries, err := q.Consume(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for d := range deliveries {
			s := inbox.Settlement{Delivery: d, Action: inbox.ActionRetry, Delay: time.Nanosecond}
			if d.Failures == rounds {
				s = inbox.Settlement{Delivery: d, Action: inbox.ActionAck}
			}
			q.Settle(ctx, []inbox.Settlement{s})
		}
	}()
	q.WaitUntilEmpty(t)
	if retries := len(q.Settled(inbox.ActionRetry)); retries != rounds {
		t.Errorf("empty after %d of %d rounds", retries, rounds)
	}
	stop()
	<-done
}
