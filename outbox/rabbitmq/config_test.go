package rabbitmq_test

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

func TestNewPublisherNamesEveryProblem(t *testing.T) {
	_, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{
		URL: "amqp://orders:s3cr3t@localhost:port/", Exchange: strings.Repeat("e", 256), Producer: strings.Repeat("p", 256),
		Window: -1, Channels: -2, ConfirmTimeout: -time.Second, Heartbeat: time.Millisecond, Topology: 7,
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range []string{"URL: ", "Exchange: ", "Producer: ", "Window: ", "Channels: ", "ConfirmTimeout: ", "Heartbeat: ", "Topology: "} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("error does not name %s\n%v", field, err)
		}
	}
	if strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("error holds the password: %v", err)
	}
}

func TestNewPublisherRefusesTLSWithoutAMQPS(t *testing.T) {
	_, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{URL: "amqp://localhost", TLS: &tls.Config{MinVersion: tls.VersionTLS12}})
	if err == nil || !strings.Contains(err.Error(), "use amqps://") {
		t.Errorf("error %v does not say the way out", err)
	}
}
