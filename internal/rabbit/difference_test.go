package rabbit

import (
	"errors"
	"reflect"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

func TestCompareQueue(t *testing.T) {
	t.Parallel()
	for _, broker := range []struct {
		name string
		url  func(t *testing.T) string
	}{
		{"RabbitMQ", func(t *testing.T) string { return testenv.RabbitMQ(t) }},
		{"devbroker", func(t *testing.T) string { return devbroker.NewTest(t).URL() }},
	} {
		t.Run(broker.name, func(t *testing.T) {
			t.Parallel()
			conn, err := Dial(t.Context(), Config{URL: broker.url(t)})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			want := amqp.Table{
				"x-queue-type": "quorum", "x-message-ttl": int64(5000), "x-dead-letter-exchange": "",
				"x-dead-letter-routing-key": "q", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish",
			}
			for _, test := range []struct {
				name string
				have amqp.Table
				want []Difference
			}{
				{"the same", want, nil},
				{"created plainly", nil, []Difference{
					{"x-message-ttl", int64(5000), nil}, {"x-dead-letter-exchange", "", nil}, {"x-dead-letter-routing-key", "q", nil},
					{"x-dead-letter-strategy", "at-least-once", nil}, {"x-overflow", "reject-publish", nil}, {"x-queue-type", "quorum", "classic"},
				}},
				{"other values", amqp.Table{
					"x-queue-type": "quorum", "x-message-ttl": int32(1000), "x-dead-letter-exchange": "it's",
					"x-dead-letter-routing-key": "q", "x-overflow": "reject-publish", "x-single-active-consumer": true, "x-max-length": int64(9),
				}, []Difference{
					{"x-message-ttl", int64(5000), int64(1000)}, {"x-dead-letter-exchange", "", "it's"},
					{"x-dead-letter-strategy", "at-least-once", nil}, {"x-single-active-consumer", nil, true}, {"x-max-length", nil, int64(9)},
				}},
			} {
				queue := testenv.UniqueName(t, "q")
				if err := conn.EnsureQueue(t.Context(), Declare, Queue{Name: queue, Args: test.have}); err != nil {
					t.Fatal(err)
				}
				got, err := conn.CompareQueue(t.Context(), Queue{Name: queue, Args: want})
				if err != nil {
					t.Fatalf("%s: %v", test.name, err)
				}
				if !reflect.DeepEqual(byArgument(got), byArgument(test.want)) {
					t.Errorf("%s:\n got %v\nwant %v", test.name, got, test.want)
				}
				// It has changed nothing.
				if err := conn.EnsureQueue(t.Context(), Declare, Queue{Name: queue, Args: test.have}); err != nil {
					t.Errorf("%s: afterwards: %v", test.name, err)
				}
			}
		})
	}
}

// The question must not create what it asks for.
func TestCompareQueueCreatesNothing(t *testing.T) {
	t.Parallel()
	conn := dial(t, testenv.RabbitMQ(t))
	for _, args := range []amqp.Table{nil, {"x-queue-type": "quorum", "x-delivery-limit": int64(3)}, {"x-queue-type": "classic"}} {
		q := Queue{Name: testenv.UniqueName(t, "q"), Args: args}
		if _, err := conn.CompareQueue(t.Context(), q); !errors.Is(err, ErrTopology) {
			t.Errorf("%v: %v, want ErrTopology", q, err)
		}
		if err := conn.EnsureQueue(t.Context(), Verify, q); !errors.Is(err, ErrTopology) {
			t.Errorf("%v was created: %v", q, err)
		}
	}
}

func byArgument(all []Difference) map[string]Difference {
	m := make(map[string]Difference, len(all))
	for _, d := range all {
		// A queue without a type may be told apart from a classic one or not.
		if d.Argument == "x-queue-type" && d.Have == nil {
			d.Have = "classic"
		}
		m[d.Argument] = d
	}
	// Of another type's arguments a broker may say nothing.
	if m["x-queue-type"].Have == "classic" {
		delete(m, "x-dead-letter-strategy")
	}
	return m
}
