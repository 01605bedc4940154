package inbox

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/asimalizada/pulse-events/internal/correlation"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// Message is one event as a handler sees it.
type Message struct {
	ID              string            // event id: the same on every copy; 1 to 255 bytes
	Topic           string            // routing key it was first published with
	Type            string            // name of the event, such as "OrderCreated"
	Version         int               // of the contract of its payload; zero: it names none, which counts as 1
	Key             string            // ordering key; empty: none
	Seq             int64             // place in the producer's outbox; zero: unknown
	Payload         []byte            // as the producer wrote it; not to be changed
	ContentType     string            // of the payload
	ContentEncoding string            // how the payload is compressed, such as "gzip"; empty: it is not
	Headers         map[string]string // the producer's own, and the trace context
	CorrelationID   string            // names the business action
	CausationID     string            // id of the message that led to this one
	Producer        string            // application that published it
	OccurredAt      time.Time         // when the change happened, by the producer
	Signature       string            // how it is signed, see ConsumerConfig.Opener; empty: it is not
	Encryption      string            // how it is encrypted; empty: it is not, or no longer
	Attempt         int               // which handling this is, from 1; redeliveries without a failure do not count

	travelled []byte // payload before it was opened; nil: it is as it came
}

// FromWire returns a message that has travelled, for those who write a Source: see
// package wire. It is the first attempt at it; headers and payload are shared
// with w.
func FromWire(w wire.Message) Message {
	return Message{
		ID: w.ID, Topic: w.Topic, Type: w.Type, Version: w.Version, Key: w.Key, Seq: w.Seq,
		Payload: w.Payload, ContentType: w.ContentType, ContentEncoding: w.ContentEncoding, Headers: w.Headers,
		CorrelationID: w.CorrelationID, CausationID: w.CausationID, Producer: w.Producer, OccurredAt: w.OccurredAt,
		Signature: w.Signature, Encryption: w.Encryption, Attempt: 1,
	}
}

// wire returns m as it travels.
func (m *Message) wire() wire.Message {
	return wire.Message{
		ID: m.ID, Topic: m.Topic, Type: m.Type, Version: m.Version, Key: m.Key, Seq: m.Seq,
		Payload: m.Payload, ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, Headers: m.Headers,
		CorrelationID: m.CorrelationID, CausationID: m.CausationID, Producer: m.Producer, OccurredAt: m.OccurredAt,
		Signature: m.Signature, Encryption: m.Encryption,
	}
}

// InvalidMessageError says why a message cannot be applied.
type InvalidMessageError struct {
	ID      string // its event id, however odd
	Problem string // begins with the field's name
}

func (e *InvalidMessageError) Error() string {
	return fmt.Sprintf("invalid message %.64q: %s", e.ID, e.Problem)
}

// Is makes errors.Is(err, ErrInvalidMessage) hold.
func (e *InvalidMessageError) Is(target error) bool { return target == ErrInvalidMessage }

// validate checks the event id, which the inbox depends on.
func (m *Message) validate() error {
	if problem := keyProblem("ID", m.ID); problem != "" {
		return &InvalidMessageError{ID: m.ID, Problem: problem}
	}
	return nil
}

// context returns ctx with the message's correlation id, its own id as the
// causation id, and a trace: that of the span in which the message is processed if
// it has one to itself, else the one it came with.
func (m *Message) context(ctx context.Context) context.Context {
	ctx = correlation.WithCorrelationID(ctx, m.CorrelationID)
	ctx = correlation.WithCausationID(ctx, m.ID)
	if p := processOf(ctx); p != nil && p.single {
		return trace.ContextWithSpan(ctx, p.span)
	}
	return correlation.ExtractTrace(ctx, m.Headers)
}
