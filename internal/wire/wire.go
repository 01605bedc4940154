// Package wire is the contract between producers and consumers: how a message
// stands in AMQP 0-9-1 properties and headers. It knows no broker library, so
// that both sides can share it; the vectors in testdata/wire hold both to it.
package wire

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Exchange is the default topic exchange.
const Exchange = "pulse.events"

// Headers of every message.
const (
	HeaderCorrelationID = "x-correlation-id"
	HeaderCausationID   = "x-causation-id"
	HeaderTraceParent   = "traceparent"
	HeaderTraceState    = "tracestate"
	HeaderTopic         = "pulse-topic"
	HeaderKey           = "pulse-key"
	HeaderSeq           = "pulse-seq"
	HeaderOccurredAt    = "pulse-occurred-at"
)

// DefaultContentType is assumed where a message names none.
const DefaultContentType = "application/json"

// DeliveryModePersistent marks a message that survives a broker restart.
const DeliveryModePersistent = 2

// Message is what travels, in the terms of outbox and inbox.
type Message struct {
	ID          string `json:"id"`
	Topic       string `json:"topic"`
	Type        string `json:"type"`
	Key         string `json:"key,omitempty"`
	Seq         int64  `json:"seq,omitempty"`
	ContentType string `json:"contentType"`
	// ContentEncoding is how Payload is compressed, such as "gzip"; empty: not.
	ContentEncoding string            `json:"contentEncoding,omitempty"`
	CorrelationID   string            `json:"correlationId,omitempty"`
	CausationID     string            `json:"causationId,omitempty"`
	Producer        string            `json:"producer,omitempty"`
	OccurredAt      time.Time         `json:"occurredAt"`
	Headers         map[string]string `json:"headers,omitempty"` // the producer's own, and the trace context
	Payload         []byte            `json:"-"`
}

// Envelope is the same message in the terms of AMQP: basic properties,
// headers and body. Header values are string or int64.
type Envelope struct {
	Exchange        string         `json:"exchange"`
	RoutingKey      string         `json:"routingKey"`
	MessageID       string         `json:"messageId"`
	Type            string         `json:"type"`
	CorrelationID   string         `json:"correlationId,omitempty"`
	ContentType     string         `json:"contentType"`
	ContentEncoding string         `json:"contentEncoding,omitempty"`
	AppID           string         `json:"appId,omitempty"`
	Timestamp       time.Time      `json:"timestamp"` // whole seconds: all that AMQP carries
	DeliveryMode    uint8          `json:"deliveryMode"`
	Headers         map[string]any `json:"headers"`
	Body            []byte         `json:"-"`
}

// ErrUndecodable is matched by every error of Decode.
var ErrUndecodable = errors.New("undecodable message")

// ReservedHeader reports whether name is kept for the contract, the broker or
// a field of Message, so that a producer may not set it as a header.
func ReservedHeader(name string) bool {
	switch name {
	case HeaderCorrelationID, HeaderCausationID:
		return true
	}
	return strings.HasPrefix(name, "pulse-") || BrokerHeader(name)
}

// BrokerHeader reports whether name is one that the broker writes, or reads as
// an order to route copies elsewhere. A message that is published again must
// leave it out.
func BrokerHeader(name string) bool {
	switch name {
	case "CC", "BCC", "x-delivery-count", "x-acquired-count":
		return true
	}
	return strings.HasPrefix(name, "x-death") ||
		strings.HasPrefix(name, "x-first-death-") || strings.HasPrefix(name, "x-last-death-")
}

// Encode puts m on the wire for the given exchange. Empty ids and keys leave
// their header out. The payload is not copied.
func Encode(m Message, exchange string) Envelope {
	headers := make(map[string]any, len(m.Headers)+6)
	for name, value := range m.Headers {
		headers[name] = value
	}
	headers[HeaderTopic] = m.Topic
	setString(headers, HeaderCorrelationID, m.CorrelationID)
	setString(headers, HeaderCausationID, m.CausationID)
	setString(headers, HeaderKey, m.Key)
	if m.Seq != 0 {
		headers[HeaderSeq] = m.Seq
	}
	if !m.OccurredAt.IsZero() {
		headers[HeaderOccurredAt] = m.OccurredAt.UTC().Format(time.RFC3339Nano)
	}
	return Envelope{
		Exchange:        exchange,
		RoutingKey:      m.Topic,
		MessageID:       m.ID,
		Type:            m.Type,
		CorrelationID:   m.CorrelationID,
		ContentType:     m.ContentType,
		ContentEncoding: m.ContentEncoding,
		AppID:           m.Producer,
		Timestamp:       m.OccurredAt.UTC().Truncate(time.Second),
		DeliveryMode:    DeliveryModePersistent,
		Headers:         headers,
		Body:            m.Payload,
	}
}

// Decode reads a message off the wire, as Read does, and checks its id: a
// message without a readable id answers ErrUndecodable, together with the
// Message as far as it could be read.
func Decode(e Envelope) (Message, error) {
	m, err := Read(e)
	return m, cmp.Or(CheckID(m.ID), err)
}

// CheckID returns an ErrUndecodable where id cannot tell one event from
// another.
func CheckID(id string) error {
	switch {
	case strings.TrimSpace(id) == "":
		return fmt.Errorf("%w: property message_id is empty", ErrUndecodable)
	case !utf8.ValidString(id) || strings.ContainsRune(id, 0):
		return fmt.Errorf("%w: property message_id %q is not text", ErrUndecodable, id)
	}
	return nil
}

// Read reads a message off the wire. It is lenient with what other producers
// leave out: topic from the routing key, correlation id from the property or
// the header, occurred-at from the timestamp, and no look at the id.
//
// Header values that are no plain scalar (the broker's x-death, say) are not
// carried over into Message.Headers.
func Read(e Envelope) (Message, error) {
	var problem error
	m := Message{
		ID:              e.MessageID,
		Topic:           first(text(e.Headers[HeaderTopic]), e.RoutingKey),
		Type:            e.Type,
		Key:             text(e.Headers[HeaderKey]),
		ContentType:     first(e.ContentType, DefaultContentType),
		ContentEncoding: e.ContentEncoding,
		CorrelationID:   first(e.CorrelationID, text(e.Headers[HeaderCorrelationID])),
		CausationID:     text(e.Headers[HeaderCausationID]),
		Producer:        e.AppID,
		OccurredAt:      e.Timestamp.UTC(),
		Payload:         e.Body,
	}
	m.Seq, _ = integer(e.Headers[HeaderSeq])
	if at := text(e.Headers[HeaderOccurredAt]); at != "" {
		occurred, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			problem = fmt.Errorf("%w: header %s: %w", ErrUndecodable, HeaderOccurredAt, err)
		} else {
			m.OccurredAt = occurred.UTC()
		}
	}
	for name, value := range e.Headers {
		if ReservedHeader(name) {
			continue
		}
		if s, ok := Scalar(value); ok {
			if m.Headers == nil {
				m.Headers = make(map[string]string)
			}
			m.Headers[name] = s
		}
	}
	return m, problem
}

func setString(headers map[string]any, name, value string) {
	if value != "" {
		headers[name] = value
	}
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func text(v any) string {
	s, _ := Scalar(v)
	return s
}

// Scalar returns the text of a header's value; false where it is none, such as
// a nested table.
func Scalar(v any) (text string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), true
	case bool, int, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64:
		return fmt.Sprint(v), true
	}
	return "", false
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case int32:
		return int64(v), true
	case int16:
		return int64(v), true
	case int8:
		return int64(v), true
	case uint8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case int:
		return int64(v), true
	}
	return 0, false
}
