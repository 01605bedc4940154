package rabbitmq

import (
	"errors"
	"slices"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// A message that was got is taken after those that were delivered before it, and no
// acknowledgement of it covers theirs.
func TestReceiveAskedInItsPlace(t *testing.T) {
	s, err := NewSource(SourceConfig{URL: "amqp://127.0.0.1:1", Queue: "q"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	deliveries := make(chan amqp.Delivery, 2)
	nothing := func() {}
	l := &link{source: s, deliveries: deliveries, window: &window{limit: 1 << 20, pause: nothing, resume: nothing}}
	l.unacked = newUnacked(1, func(uint64, bool) error { return nil }, l.window.free)
	deliveries <- amqp.Delivery{DeliveryTag: 1}
	deliveries <- amqp.Delivery{DeliveryTag: 2}
	if err := l.receiveAsked(amqp.Delivery{DeliveryTag: 3}); err != nil {
		t.Fatal(err)
	}
	var received []uint64
	for _, d := range l.waiting {
		received = append(received, d.Handle.(*handle).raw.DeliveryTag)
	}
	if want := []uint64{1, 2, 3}; !slices.Equal(received, want) || !slices.Equal(l.unacked.tags, want) {
		t.Errorf("received %v, unsettled %v, want %v", received, l.unacked.tags, want)
	}
	close(deliveries)
	if err := l.receiveAsked(amqp.Delivery{DeliveryTag: 5}); !errors.Is(err, rabbit.ErrLost) {
		t.Errorf("of a channel that has ended: %v", err)
	}
}
