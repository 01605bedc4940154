package rabbitmq_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// The password is changed while the source consumes and retries, and its
// connections are cut: it asks for the new one for all of them.
func TestSourceCredentials(t *testing.T) {
	vhost := testenv.RabbitMQ(t)
	user := testenv.NewRabbitMQUser(t, vhost)
	name, first := user.Credentials()
	var password atomic.Value
	password.Store(first)
	r := newRigAt(t, vhost, func(c *rabbitmq.SourceConfig) {
		c.Credentials = func(context.Context) (string, string, error) { return name, password.Load().(string), nil }
	})
	deliveries := r.consume(10)
	retryOne := func(id string) {
		t.Helper()
		r.publish(id)
		for _, action := range []inbox.Action{inbox.ActionRetry, inbox.ActionAck} {
			d := <-deliveries
			if d.Message.ID != id {
				t.Fatalf("delivered %s, want %s", d.Message.ID, id)
			}
			if errs := r.source.Settle(t.Context(), []inbox.Settlement{{Delivery: d, Action: action}}); errs[0] != nil {
				t.Fatal(errs[0])
			}
		}
	}
	retryOne("before")
	user.SetPassword("second/@:%")
	user.Disconnect()
	testenv.Eventually(t, patience, "the source to be refused", func() bool {
		connected, err := r.source.Health()
		return !connected && err != nil
	})
	_, second := user.Credentials()
	password.Store(second)
	testenv.Eventually(t, patience, "the source to consume again", func() bool { connected, _ := r.source.Health(); return connected })
	retryOne("after")
}
