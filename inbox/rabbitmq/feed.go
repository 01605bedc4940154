package rabbitmq

import (
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// feed hands on deliveries from the library and counts their bytes as soon as
// they are in memory: beyond a limit the connection reads no more.
type feed struct {
	out     chan []amqp.Delivery // whatever has come, but not too much at once
	bytes   *window
	more    chan (<-chan amqp.Delivery)
	stopped chan struct{}
	ended   chan struct{}
	left    []amqp.Delivery // nobody has taken, once ended
}

func newFeed(conn *rabbit.Conn, first <-chan amqp.Delivery) *feed {
	f := &feed{
		out: make(chan []amqp.Delivery), more: make(chan (<-chan amqp.Delivery)), stopped: make(chan struct{}), ended: make(chan struct{}),
		bytes: &window{limit: browseBytes, pause: conn.Pause, resume: conn.Resume},
	}
	go f.run(first)
	return f
}

// follow hands on in as the second subscription.
func (f *feed) follow(in <-chan amqp.Delivery) {
	select {
	case f.more <- in:
	case <-f.ended:
	}
}

// run ends when the library has closed the subscriptions.
func (f *feed) run(first <-chan amqp.Delivery) {
	defer close(f.ended)
	defer close(f.out)
	var second <-chan amqp.Delivery
	receive := func(in *<-chan amqp.Delivery, d amqp.Delivery, open bool) {
		if !open {
			*in = nil
			return
		}
		f.bytes.add(rabbit.DeliverySize(&d))
		f.left = append(f.left, d)
	}
	stopped := f.stopped
	for first != nil || second != nil || len(f.left) > 0 && stopped != nil {
		var offer chan []amqp.Delivery
		batch := f.left[:min(len(f.left), maxReplacing/2):min(len(f.left), maxReplacing/2)]
		if len(batch) > 0 && stopped != nil {
			offer = f.out
		}
		select {
		case d, open := <-first:
			receive(&first, d, open)
		case d, open := <-second:
			receive(&second, d, open)
		case second = <-f.more:
		case offer <- batch:
			f.left = f.left[len(batch):]
		case <-stopped:
			stopped = nil
		}
	}
}

// done says that deliveries need no memory any more.
func (f *feed) done(batch []amqp.Delivery) {
	for i := range batch {
		f.bytes.free(rabbit.DeliverySize(&batch[i]))
	}
}

// stop returns what nobody has taken. The subscriptions have ended.
func (f *feed) stop() []amqp.Delivery {
	close(f.stopped)
	<-f.ended
	return f.left
}
