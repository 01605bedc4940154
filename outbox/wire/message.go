// Package wire is the contract between producers and consumers: which fields a
// message has on its way, and in which headers they travel. The publisher and
// the source for RabbitMQ are built on it, and those for other brokers can be;
// docs/wire.md is the contract for programs in any language.
//
// A Message is what travels. What a broker has properties of its own for, such
// as AMQP's message_id and content_type, goes into these; Headers makes headers
// of the rest, and AllHeaders makes headers of everything, for brokers without
// properties, such as Kafka and NATS. ReadHeaders reads both.
package wire

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Exchange is the exchange that messages are published to by default, on
// brokers with exchanges.
const Exchange = "pulse.events"

// DefaultContentType is assumed where a message names none.
const DefaultContentType = "application/json"

// Message is what travels from a producer to its consumers.
type Message struct {
	// ID is the event id, the same on every copy. Consumers recognise copies by
	// it; see CheckID.
	ID string
	// Topic the message was first published under, such as "order.created".
	Topic string
	// Type names the event, such as "OrderCreated".
	Type string
	// Version of the contract that the payload satisfies; zero: it names none, which
	// counts as 1. See Contracts.
	Version int
	// Key is the ordering key; empty: none.
	Key string
	// Seq is the place in the producer's outbox; zero: unknown.
	Seq int64
	// Payload is what the producer wrote.
	Payload []byte
	// ContentType of the payload.
	ContentType string
	// ContentEncoding is how the payload is compressed, such as "gzip"; empty: it
	// is not.
	ContentEncoding string
	// Headers are the producer's own, and the trace context.
	Headers map[string]string
	// CorrelationID names the business action; empty: unknown.
	CorrelationID string
	// CausationID is the id of the message that led to this one; empty: none.
	CausationID string
	// Producer is the application that publishes the message; empty: unknown.
	Producer string
	// OccurredAt is when the change happened; zero: unknown.
	OccurredAt time.Time
	// Signature and Encryption say how the message is protected, see package seal;
	// empty: it is not.
	Signature, Encryption string
}

// ErrUndecodable is matched by errors about what was read and makes no message.
var ErrUndecodable = errors.New("undecodable message")

// ErrSignature is matched by errors about messages that are not signed or encrypted
// as a consumer wants them, or not by those whom it trusts.
var ErrSignature = errors.New("message is not as it was signed")

// CheckID returns an ErrUndecodable where id cannot tell one event from
// another: it is blank, or no text that a database stores.
func CheckID(id string) error {
	switch {
	case strings.TrimSpace(id) == "":
		return fmt.Errorf("%w: message_id is empty", ErrUndecodable)
	case !utf8.ValidString(id) || strings.ContainsRune(id, 0):
		return fmt.Errorf("%w: message_id %q is not UTF-8 text without NUL", ErrUndecodable, id)
	}
	return nil
}
