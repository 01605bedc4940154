package rabbitmq

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// A content header above the agreed frame size makes the broker close the
// whole connection (501), for every call that uses it. The publisher checks the
// size beforehand; here it is told that the broker agreed to a larger one.
func TestPublisherIsolatesConnectionClose(t *testing.T) {
	url, exchange := testenv.RabbitMQ(t), testenv.UniqueName(t, "pulse.test")
	p, err := NewPublisher(PublisherConfig{URL: url, Exchange: exchange, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s := firstSession(t, p)
	bind(t, url, exchange)
	s.conn.Config.FrameSize = 1 << 20

	const lanes, each, culprit = 4, 300, 150
	var wg sync.WaitGroup
	for lane := range lanes {
		msgs := make([]outbox.Message, each)
		for i := range msgs {
			msgs[i] = outbox.NewMessage("order.created", nil)
		}
		if lane == 0 {
			msgs[culprit].Headers = map[string]string{"long": strings.Repeat("x", 200<<10)}
		}
		wg.Go(func() {
			for i, err := range p.Publish(t.Context(), msgs) {
				switch {
				case lane == 0 && i == culprit:
					if !outbox.IsPermanent(err) {
						t.Errorf("culprit: %v", err)
					}
				case err != nil && !outbox.IsUnavailable(err):
					t.Errorf("lane %d, message %d: %v", lane, i, err)
				case lane == 0 && err != nil:
					t.Errorf("neighbour %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	if firstSession(t, p) == s {
		t.Error("the connection was not closed: nothing was tested")
	}
}

// One message for which the broker closes the channel, in every call at once.
func TestPublisherIsolatesConcurrently(t *testing.T) {
	url, exchange := testenv.RabbitMQ(t), testenv.UniqueName(t, "pulse.test")
	p, err := NewPublisher(PublisherConfig{URL: url, Exchange: exchange, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s := firstSession(t, p)
	bind(t, url, exchange)
	var wg sync.WaitGroup
	for lane := range 4 {
		wg.Go(func() {
			msgs := make([]outbox.Message, 60)
			for i := range msgs {
				msgs[i] = outbox.NewMessage("order.created", fmt.Appendf(nil, "%d", i))
			}
			msgs[10*lane+5].Headers = map[string]string{"CC": "not a list"}
			for i, err := range p.Publish(t.Context(), msgs) {
				if i == 10*lane+5 {
					if !outbox.IsPermanent(err) || !strings.Contains(err.Error(), "CC") {
						t.Errorf("lane %d, culprit: %v", lane, err)
					}
				} else if err != nil {
					t.Errorf("lane %d, neighbour %d: %v", lane, i, err)
				}
			}
		})
	}
	wg.Wait()
	if firstSession(t, p) != s {
		t.Error("a closed channel took the connection along")
	}
}

func firstSession(t *testing.T, p *Publisher) *session {
	t.Helper()
	var s *session
	testenv.Eventually(t, 30*time.Second, "a connection", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		s = p.current
		return s != nil
	})
	return s
}

func bind(t *testing.T, url, exchange string) {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	queue, err := ch.QueueDeclare(exchange, true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(queue.Name, "#", exchange, false, nil); err != nil {
		t.Fatal(err)
	}
}
