package rabbitmq_test

import (
	"context"
	"log"
	"os"
	"strings"

	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// The nodes of a cluster, tried in random order, and a password that is read at
// each connect, so that one that was rotated is used from then on.
func ExamplePublisherConfig_credentials() {
	publisher, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{
		URL:      "amqps://rabbit-0:5671,rabbit-1:5671,rabbit-2:5671/orders",
		Producer: "orders",
		Credentials: func(context.Context) (user, password string, err error) {
			secret, err := os.ReadFile("/run/secrets/rabbitmq-password")
			return "orders", strings.TrimSpace(string(secret)), err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer publisher.Close() // it goes to outbox.NewRelay
}
