package rabbitmq_test

import (
	"testing"

	"github.com/asimalizada/pulse-events/internal/certtest"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
)

func TestPublishOverTLS(t *testing.T) {
	b := newBroker(t)
	b.queue(t, topic, nil)
	front := rabbittest.NewTLS(t, b.url)
	settings, err := rabbit.TLSFromFiles(front.CAFile, front.CertFile, front.KeyFile, certtest.ServerName)
	if err != nil {
		t.Fatal(err)
	}
	b.publisherURL = front.URL
	cfg := b.config(t)
	cfg.TLS = settings
	msgs := newMessages(topic, 200)
	wantPublished(t, publishSoon(t, newPublisher(t, cfg), msgs))
	b.take(t, topic, len(msgs))
}
