package rabbitmq

import (
	"log/slog"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestKnowsServersThatLimitDeliveries(t *testing.T) {
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

// A queue of a 3.x server that was upgraded has no delivery limit of its own,
// and no later server lets it have one: it must be taken as it is.
func TestTakesQueuesFromBeforeAnUpgrade(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	log := new(strings.Builder)
	s, err := NewSource(SourceConfig{URL: url, Queue: "old", Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := rabbit.Dial(t.Context(), s.cfg.connection(""))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	old := rabbit.Queue{Name: "old", Args: amqp.Table{"x-queue-type": "quorum"}}
	if err := conn.EnsureQueue(t.Context(), Declare, old); err != nil {
		t.Fatal(err)
	}
	conn.Properties = amqp.Table{"product": "RabbitMQ", "version": "4.1.0"} // as if after the upgrade
	if err := s.ensureQueue(t.Context(), conn, "old", amqp.Table{}); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "delivery-limit") {
		t.Errorf("no word about the limit in the log: %s", log)
	}
	if err := s.ensureQueue(t.Context(), conn, "old", amqp.Table{"x-single-active-consumer": true}); !mismatch(err) {
		t.Errorf("another difference: %v", err)
	}
}
