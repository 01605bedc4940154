package rabbitmq_test

import (
	"context"
	"net/url"
	"strconv"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

func TestEndpointNamesTheBrokerWhileConnected(t *testing.T) {
	dev := devbroker.NewTest(t)
	b := broker{url: dev.URL(), publisherURL: dev.URL(), exchange: "pulse.events"}
	p := b.publisher(t)
	server, err := url.Parse(dev.URL())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(server.Port())
	if err != nil {
		t.Fatal(err)
	}
	want := outbox.Endpoint{System: "rabbitmq", Destination: "pulse.events", Address: server.Hostname(), Port: port}
	testenv.Eventually(t, patience, "the endpoint of the connection", func() bool { return p.Endpoint() == want })
	if err := dev.Down(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, "an endpoint without a broker", func() bool {
		return p.Endpoint() == outbox.Endpoint{System: "rabbitmq", Destination: "pulse.events"}
	})
	if err := p.Ping(context.Background()); err == nil {
		t.Error("the broker is down, and answers")
	}
}
