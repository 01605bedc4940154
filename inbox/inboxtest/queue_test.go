package inboxtest_test

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestMain(m *testing.M) {
	testenv.Init()
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
			Delay:      20 * time.Millisecond,
			Disconnect: func(*testing.T) { q.Disconnect() },
		}
	})
}
