package devbroker

// consumerCount returns the number of consumers that clients are told. Like
// RabbitMQ's, a quorum queue also counts other holders of its messages: once
// for each message got, and for each cancelled consumer that has not settled
// everything.
func (b *Broker) consumerCount(q *queue) int {
	n := len(q.consumers)
	if !q.settings.quorum || q.unacked == 0 {
		return n
	}
	cancelled := make(map[*consumer]bool)
	for c := range b.conns {
		for _, ch := range c.channels {
			for _, d := range ch.unacked {
				switch {
				case d.entry == nil || d.queue != q:
				case d.consumer == nil:
					n++
				case ch.consumers[d.consumer.tag] != d.consumer:
					cancelled[d.consumer] = true
				}
			}
		}
	}
	return n + len(cancelled)
}
