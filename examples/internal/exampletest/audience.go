package exampletest

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/examples/orders"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// OrdersWaitForTheirAudience tests that an event is published only once every queue of its
// audience is bound.
func (k Stack) OrdersWaitForTheirAudience(t *testing.T) {
	broker := devbroker.NewTest(t, func(c *devbroker.Config) { c.ManagementAddr = "127.0.0.1:0" })
	settings, _ := Settings(t, Bare)
	settings.AMQPURL, settings.Exchange = broker.URL(), "pulse.events"
	settings.Audiences, settings.ManagementURL = map[string][]string{orders.CreatedTopic: {"billing", "shipping"}}, broker.ManagementURL()
	ch := openChannel(t, broker.URL())
	bind := func(queue string) {
		t.Helper()
		_, err := ch.QueueDeclare(queue, true, false, false, false, nil)
		err = errors.Join(err, ch.ExchangeDeclare(settings.Exchange, "topic", true, false, false, false, nil),
			ch.QueueBind(queue, orders.CreatedTopic, settings.Exchange, false, nil))
		if err != nil {
			t.Fatal(err)
		}
	}
	bind("billing")
	service, err := k.Orders(settings)
	if err != nil {
		t.Fatal(err)
	}
	base := Start(t, service)
	if status, body := Ask(t, http.MethodPost, base+"/orders", `{"customerId":"c","amount":1}`); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	testenv.Eventually(t, Patience, "the relay to say that a queue is not bound", func() bool {
		_, h := readiness(t, base)
		return h.Relay.State == "degraded" && strings.Contains(h.Relay.LastError, "a queue of the audience is not bound")
	})
	db := Open(t, settings.DatabaseURL)
	if n := Count(t, db, `outbox_messages WHERE status = 'pending' AND attempts = 0`); n != 1 {
		t.Errorf("%d rows pending without an attempt, want 1", n)
	}
	bind("shipping")
	testenv.Eventually(t, Patience, "the event to be published", func() bool { return Count(t, db, `outbox_messages WHERE status = 'published'`) == 1 })
	if _, there, err := ch.Get("shipping", true); err != nil || !there {
		t.Errorf("the second queue has got nothing: %v", err)
	}
}
