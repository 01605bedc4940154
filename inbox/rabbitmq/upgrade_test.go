package rabbitmq

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestLimitsDeliveries(t *testing.T) {
	for _, test := range []struct {
		product, version any
		want             bool
	}{
		{"RabbitMQ", "4.0.0", true},
		{"RabbitMQ", "4.3.1-rc.1", true},
		{"RabbitMQ", "10.0", true},
		{"RabbitMQ", "3.13.7", false},
		{"RabbitMQ", "3.10.8", false},
		{"RabbitMQ", "", false},
		{"RabbitMQ", nil, false},
		{"LavinMQ", "4.0.0", false},
		{nil, nil, false},
	} {
		if got := limitsDeliveries(amqp.Table{"product": test.product, "version": test.version}); got != test.want {
			t.Errorf("%v %v: %t", test.product, test.version, got)
		}
	}
}

// A queue of a 3.x server that was upgraded, or of an earlier version of this
// library, lacks arguments that keep messages safe, and no server lets it have
// them: it must be taken as it is.
func TestSourceUsesQueuesFromBeforeUpgrade(t *testing.T) {
	t.Parallel()
	log := new(strings.Builder)
	s, err := NewSource(SourceConfig{URL: testenv.RabbitMQ(t), Queue: "old", RetryDelays: []time.Duration{time.Second},
		Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := rabbit.Dial(t.Context(), s.cfg.connection(""))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	retryQueue := newLayout(s.cfg, false).Queues[2]
	for name, args := range map[string]amqp.Table{"old": {"x-queue-type": "quorum"}, "old.dlq": {"x-queue-type": "quorum"}, retryQueue.Name: retryQueue.Arguments} {
		if err := conn.EnsureQueue(t.Context(), rabbit.Declare, rabbit.Queue{Name: name, Args: args}); err != nil {
			t.Fatal(err)
		}
	}
	conn.Properties = amqp.Table{"product": "RabbitMQ", "version": "4.1.0"} // as if after the upgrade
	for range 2 {
		if found, err := s.ensureAll(t.Context(), conn); err != nil || found.deadLetters || !found.quorum {
			t.Errorf("%+v, %v", found, err)
		}
	}
	for _, want := range []string{"x-delivery-limit", "delivery-limit -1", "deletes messages that reach it", "x-dead-letter-exchange is not set", "x-overflow"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not mention %s: %s", want, log)
		}
	}
	if n := strings.Count(log.String(), "x-dead-letter-exchange"); n != 1 {
		t.Errorf("said %d times", n)
	}
	s.cfg.SingleActiveConsumer = true
	if _, err := s.ensureAll(t.Context(), conn); !mismatch(err) || !strings.Contains(err.Error(), "x-single-active-consumer is not set instead of true") {
		t.Errorf("another difference: %v", err)
	}
}
