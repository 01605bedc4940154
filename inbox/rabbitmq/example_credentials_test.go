package rabbitmq_test

import (
	"context"
	"log"
	"os"
	"strings"

	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
)

// The nodes of a cluster, tried in random order, and a password that is read at
// each connect, so that one that was rotated is used from then on.
func ExampleSourceConfig_credentials() {
	source, err := rabbitmq.NewSource(rabbitmq.SourceConfig{
		URL:   "amqps://rabbit-0:5671,rabbit-1:5671,rabbit-2:5671/orders",
		Queue: "order.created",
		Credentials: func(context.Context) (user, password string, err error) {
			secret, err := os.ReadFile("/run/secrets/rabbitmq-password")
			return "notifications", strings.TrimSpace(string(secret)), err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer source.Close() // it goes to inbox.NewConsumer
}
