package outbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
)

// A service that takes orders and relays them, before a load balancer or in
// Kubernetes: /health/live and /health/ready.
func ExampleHealthHandler() {
	var (
		ob        *outbox.Outbox
		relay     *outbox.Relay
		publisher interface{ Health() (bool, error) } // such as that of outbox/rabbitmq
	)
	mux := http.NewServeMux()
	mux.Handle("/health/", outbox.HealthHandler(outbox.HealthConfig{
		Service: "orders", Outbox: ob, Relay: relay.Health, Publisher: publisher.Health,
	}))
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", mux))
}

func ExampleHealth_MarshalJSON() {
	h := outbox.Health{
		State: outbox.RelayDegraded, Since: time.Date(2026, 11, 26, 7, 8, 9, 0, time.UTC),
		LastError: errors.New("lane 0: broker unavailable"), OldestPending: 90 * time.Second,
	}
	text, err := json.Marshal(h)
	if err != nil {
		log.Fatal(err)
	}
	var shown struct {
		State, Since, LastError string
		OldestPendingSeconds    float64
	}
	if err := json.Unmarshal(text, &shown); err != nil {
		log.Fatal(err)
	}
	fmt.Println(shown.State, shown.Since, shown.LastError, shown.OldestPendingSeconds)
	// Output: degraded 2026-11-26T07:08:09Z lane 0: broker unavailable 90
}
