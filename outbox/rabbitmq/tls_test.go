package rabbitmq_test

import (
	"testing"

	"github.com/asimalizada/pulse-events/internal/certtest"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
)

func TestPublisherTLS(t *testing.T) {
	b := newBroker(t)
	b.queue(t, topic, nil)
	front := rabbittest.NewTLS(t, b.url)
	files := rabbit.TLSFiles{CA: front.CAFile, Cert: front.CertFile, Key: front.KeyFile, ServerName: certtest.ServerName}
	settings, err := files.Load()
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
