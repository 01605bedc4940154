package outboxtest_test

import (
	"context"
	"fmt"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/outboxtest"
)

func ExampleRecorder() {
	var rec outboxtest.Recorder // hand it to outbox.NewRelay in place of a broker
	rec.FailNext(outbox.Rejected(fmt.Errorf("queue is full")))

	msgs := []outbox.Message{
		outbox.NewMessage("order.created", []byte(`{"orderId":1}`)),
		outbox.NewMessage("order.created", []byte(`{"orderId":2}`)),
	}
	for _, err := range rec.Publish(context.Background(), msgs) {
		fmt.Println(err)
	}
	fmt.Printf("published: %s\n", rec.Published()[0].Payload)
	// Output:
	// rejected by the broker: queue is full
	// <nil>
	// published: {"orderId":2}
}
