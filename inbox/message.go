package inbox

import "time"

// Message is one event as a handler sees it.
type Message struct {
	ID            string            // event id: the same on every copy
	Topic         string            // routing key it was first published with
	Type          string            // name of the event, such as "OrderCreated"
	Key           string            // ordering key; empty: none
	Seq           int64             // place in the producer's outbox; zero: unknown
	Payload       []byte            // as the producer wrote it; not to be changed
	ContentType   string            // of the payload
	Headers       map[string]string // the producer's own, and the trace context
	CorrelationID string            // names the business action
	CausationID   string            // id of the message that led to this one
	Producer      string            // application that published it
	OccurredAt    time.Time         // when the change happened, by the producer
	Attempt       int               // which handling this is, from 1; redeliveries without a failure do not count
}
