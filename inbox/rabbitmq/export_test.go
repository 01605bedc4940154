package rabbitmq

import "github.com/asimalizada/pulse-events/inbox"

// BreakChannel makes the broker close the channel a delivery came on, as it
// does when a consumer takes too long.
func BreakChannel(d inbox.Delivery) error {
	return d.Handle.(*handle).link.channel.Ack(1<<40, false)
}
