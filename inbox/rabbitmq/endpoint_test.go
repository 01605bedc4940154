package rabbitmq_test

import (
	"net/url"
	"strconv"
	"testing"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

func TestEndpointNamesTheBrokerWhileSubscribed(t *testing.T) {
	t.Parallel()
	r := newRigAt(t, devbroker.NewTest(t).URL())
	if got, want := r.source.Endpoint(), (inbox.Endpoint{System: "rabbitmq", Destination: r.names.Queue}); got != want {
		t.Errorf("before there is a subscription: %+v; want %+v", got, want)
	}
	deliveries := r.consume(1)
	r.publish("e1")
	d := r.receiveID(deliveries, "e1")
	server, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(server.Port())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.source.Endpoint(), (inbox.Endpoint{System: "rabbitmq", Destination: r.names.Queue, Address: server.Hostname(), Port: port}); got != want {
		t.Errorf("while it consumes: %+v; want %+v", got, want)
	}
	r.ack(d)
}
