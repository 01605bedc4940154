package rabbitmq_test

import (
	"context"
	"sync"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// The password is changed while the publisher is connected, and the connection
// is cut: it asks for the new one, and continues without being created again.
func TestPublisherCredentials(t *testing.T) {
	b := newBroker(t)
	b.queue(t, topic, nil)
	user := testenv.NewRabbitMQUser(t, b.url)
	var mu sync.Mutex
	var asked int
	name, password := user.Credentials()
	cfg := b.config(t)
	cfg.Credentials = func(context.Context) (string, string, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return name, password, nil
	}
	p := newPublisher(t, cfg)
	msgs := newMessages(topic, 20)
	wantPublished(t, publishSoon(t, p, msgs))
	user.SetPassword("second/@:%")
	user.Disconnect()
	awaitHealth(t, p, "access refused")
	mu.Lock()
	_, password = user.Credentials()
	before := asked
	mu.Unlock()
	wantPublished(t, publishSoon(t, p, msgs))
	mu.Lock()
	defer mu.Unlock()
	if asked <= before {
		t.Errorf("asked %d times, and %d before the change", asked, before)
	}
	b.take(t, topic, 2*len(msgs))
}
