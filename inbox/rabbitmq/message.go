package rabbitmq

import (
	"maps"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// decode reads a delivery as the inbox sees it; the handle is left to the
// caller.
func (s *Source) decode(d amqp.Delivery) inbox.Delivery {
	m, err := rabbit.ReadMessage(&d)
	m.Topic = s.topic(&d, m.Topic)
	failures := s.history(d).Attempts
	msg := inbox.FromWire(m)
	msg.Attempt = failures + 1
	err = interpret(d, s.cfg.Interpret, &msg, err)
	return inbox.Delivery{
		Message:     msg,
		Err:         err,
		Failures:    failures,
		Redelivered: d.Redelivered || s.returned(d),
	}
}

// topic is the topic of a delivery, of which found is what header and routing key
// say. A letter of the broker's own that a shovel has moved back to this queue
// has no header, and the queue's name as its routing key: the topic is in x-death.
func (s *Source) topic(d *amqp.Delivery, found string) string {
	first, _ := deaths(d.Headers)
	if d.Exchange != "" || d.RoutingKey != s.names.Queue || text(first["queue"]) != s.names.Queue {
		return found
	}
	return firstTopic(d, found, first)
}

// history returns the failures that this queue's consumers have counted on a
// delivery. Headers say many things: only a delivery that comes from one of our
// retry queues, or was requeued as a copy, brings a count of ours. One that
// was moved back from the dead letters starts afresh, whatever it carries; so
// does what a producer sends.
func (s *Source) history(d amqp.Delivery) failureHistory {
	if !s.fromRetry(d) && !s.returned(d) {
		exchange, _ := wire.Scalar(d.Headers[headerExchange]) // the first one, for whoever reads it
		return failureHistory{Exchange: exchange}
	}
	f := readFailures(d.Headers)
	const absurd = 1 << 30
	if f.Attempts < 0 || f.Attempts > absurd {
		f.Attempts = 0
	}
	return f
}

// fromRetry reports whether the broker passed d on from a retry queue of this
// queue, one of the present delays or of earlier ones.
func (s *Source) fromRetry(d amqp.Delivery) bool {
	deaths, _ := d.Headers["x-death"].([]any)
	if len(deaths) == 0 {
		return false
	}
	last, _ := deaths[0].(amqp.Table)
	queue, _ := last["queue"].(string)
	return last["reason"] == "expired" && strings.HasPrefix(queue, s.names.Queue+retryInfix)
}

// returned reports whether d is a copy by which a message was requeued to this
// queue.
func (s *Source) returned(d amqp.Delivery) bool {
	return d.Headers[headerReturned] == s.names.Queue
}

// returns is how often the broker says that a delivery was handed out and came
// back. Only quorum queues count.
func returns(d amqp.Delivery) int64 {
	switch n := d.Headers["x-delivery-count"].(type) {
	case int64:
		return n
	case int32:
		return int64(n)
	}
	return 0
}

// copyOf returns a copy of a delivery for another queue: properties, headers
// and body as they came.
//
// Left out is what would harm the copy: headers of the broker (CC and
// BCC would route it to other queues, x-death would grow with every attempt),
// the expiration (it would cut a wait short, or delete a dead letter) and the
// user id (the broker refuses one that is not ours).
func copyOf(d amqp.Delivery, queue string) rabbit.Publishing {
	headers := make(amqp.Table, len(d.Headers)+10)
	for name, value := range d.Headers {
		if !wire.BrokerHeader(name) {
			headers[name] = value
		}
	}
	return rabbit.Publishing{
		Key: queue, // through the default exchange
		Publishing: amqp.Publishing{
			Headers:         headers,
			ContentType:     d.ContentType,
			ContentEncoding: d.ContentEncoding,
			DeliveryMode:    amqp.Persistent,
			Priority:        d.Priority,
			CorrelationId:   d.CorrelationId,
			ReplyTo:         d.ReplyTo,
			MessageId:       d.MessageId,
			Timestamp:       d.Timestamp,
			Type:            d.Type,
			AppId:           d.AppId,
			Body:            d.Body,
		},
	}
}

// failedCopy returns the copy that goes to a retry or dead-letter queue, with
// the history in its headers. The id is written where the producer's property
// was empty, so that whoever looks at the copy can tell which event it is.
func failedCopy(d amqp.Delivery, msg inbox.Message, history failureHistory, detail detail) rabbit.Publishing {
	c := copyOf(d, "")
	clearFailures(c.Headers)
	delete(c.Headers, headerReturned)
	c.Headers[wire.HeaderTopic] = msg.Topic // the way back replaces the routing key
	if strings.TrimSpace(c.MessageId) == "" && len(msg.ID) <= maxName {
		c.MessageId = msg.ID
	}
	if detail >= withoutErrors {
		history.FirstError, history.LastError = "", ""
		delete(c.Headers, headerEarlier)
	}
	if detail >= countAndReason {
		history = failureHistory{Attempts: history.Attempts, Reason: history.Reason}
	}
	history.write(c.Headers)
	return c
}

// detail is how much of a message's history a copy can hold: headers share one
// frame.
type detail int

const (
	everything detail = iota
	withoutErrors
	countAndReason
)

// returnedCopy returns the copy by which a delivery is requeued.
func (s *Source) returnedCopy(d amqp.Delivery) rabbit.Publishing {
	c := copyOf(d, s.names.Queue)
	if !s.fromRetry(d) && !s.returned(d) {
		exchange := c.Headers[headerExchange]
		clearFailures(c.Headers) // a count that is none of ours would become one
		if exchange != nil {
			c.Headers[headerExchange] = exchange
		}
	}
	c.Headers[headerReturned] = s.names.Queue
	if _, known := c.Headers[wire.HeaderTopic]; !known {
		c.Headers[wire.HeaderTopic] = s.topic(&d, d.RoutingKey)
	}
	return c
}

// dropHeaders leaves out the producer's own headers, the largest first, until
// room more bytes are free, and names them.
func dropHeaders(c *rabbit.Publishing, room int) {
	headers := maps.Clone(c.Headers)
	var dropped []string
	for room > 0 {
		largest, size := "", 0
		for name, value := range headers {
			if n := rabbit.HeaderSize(name, value); n > size && !strings.HasPrefix(name, "pulse-") {
				largest, size = name, n
			}
		}
		if largest == "" {
			break
		}
		delete(headers, largest)
		if dropped == nil {
			room += rabbit.HeaderSize(headerDropped, "")
		}
		dropped = append(dropped, largest)
		room += len(largest) + 2 - size
	}
	if dropped != nil {
		headers[headerDropped] = strings.Join(dropped, ", ")
	}
	c.Headers = headers
}
