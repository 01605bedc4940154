package inbox_test

import (
	"log"
	"net/http"

	"github.com/asimalizada/pulse-events/inbox"
)

// A service that consumes, before a load balancer or in Kubernetes:
// /health/live and /health/ready.
func ExampleHealthHandler() {
	var (
		in       *inbox.Inbox
		consumer *inbox.Consumer
		source   interface{ Health() (bool, error) } // such as that of inbox/rabbitmq
	)
	mux := http.NewServeMux()
	mux.Handle("/health/", inbox.HealthHandler(inbox.HealthConfig{
		Service: "notifications", Inbox: in, Consumer: consumer.Health, Source: source.Health,
	}))
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", mux))
}
