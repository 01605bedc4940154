package rabbitmq_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// CompareQueues tells what is missing, of another kind, or different, and makes
// nothing.
func TestInspectorCompareQueues(t *testing.T) {
	for name, broker := range map[string]func(*testing.T) string{
		"devbroker": func(t *testing.T) string { return devbroker.NewTest(t).URL() },
		"RabbitMQ":  func(t *testing.T) string { return testenv.RabbitMQ(t) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := rabbitmq.SourceConfig{
				URL: broker(t), Queue: testenv.UniqueName(t, "q"), RetryDelays: []time.Duration{time.Minute}, Logger: slog.New(slog.DiscardHandler),
			}
			compare := func() string {
				i, err := rabbitmq.OpenInspector(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer i.Close()
				reports, err := i.CompareQueues(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				var told []string
				for _, r := range reports {
					kind := strings.TrimPrefix(r.Queue.Name, cfg.Queue)
					if r.Missing {
						told = append(told, kind+" missing")
					}
					for _, d := range r.Differences {
						text := kind + " " + d.Argument
						if d.Harmful {
							text += "!"
						}
						told = append(told, text)
					}
				}
				return strings.Join(told, ", ")
			}
			const nothing = " missing, .dlq missing, .retry.1m missing"
			for range 2 { // it has made none of them
				if got := compare(); got != nothing {
					t.Errorf("%q, want %q", got, nothing)
				}
			}
			conn, err := amqp.Dial(cfg.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ch, err := conn.Channel()
			if err != nil {
				t.Fatal(err)
			}
			declare := func(queue string, args amqp.Table) {
				t.Helper()
				if _, err := ch.QueueDeclare(queue, true, false, false, false, args); err != nil {
					t.Fatal(err)
				}
			}
			declare(cfg.Queue, amqp.Table{"x-queue-type": "classic", "x-max-length": 7})
			declare(cfg.Queue+".dlq", amqp.Table{"x-queue-type": "classic", "x-overflow": "reject-publish"})
			declare(cfg.Queue+".retry.1m", amqp.Table{"x-queue-type": "classic", "x-dead-letter-exchange": "", "x-dead-letter-routing-key": cfg.Queue})
			const want = " x-max-length, .retry.1m x-message-ttl!"
			if got := compare(); got != want {
				t.Errorf("classic queues: %q, want %q", got, want)
			}
		})
	}
}
