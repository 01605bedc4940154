package wire

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Headers of the contract, see Headers.
const (
	HeaderCorrelationID = "x-correlation-id"
	HeaderCausationID   = "x-causation-id"
	HeaderTraceParent   = "traceparent" // W3C trace context
	HeaderTraceState    = "tracestate"
	HeaderTopic         = "pulse-topic"
	HeaderKey           = "pulse-key"
	HeaderSeq           = "pulse-seq"
	HeaderOccurredAt    = "pulse-occurred-at" // RFC 3339, in UTC
	HeaderVersion       = "pulse-version"     // of the contract, see Contracts
)

// Headers of messages that are protected, see package seal.
const (
	HeaderSignature  = "pulse-signature"
	HeaderEncryption = "pulse-encryption"
)

// Headers for what a broker has no property for, see AllHeaders.
const (
	HeaderID              = "pulse-id"
	HeaderType            = "pulse-type"
	HeaderContentType     = "pulse-content-type"
	HeaderContentEncoding = "pulse-content-encoding"
	HeaderProducer        = "pulse-producer"
)

// ReservedHeader reports whether name is kept for the contract, or for
// RabbitMQ, so that a producer must not set it as a header of its own.
func ReservedHeader(name string) bool {
	switch name {
	case HeaderCorrelationID, HeaderCausationID:
		return true
	}
	return strings.HasPrefix(name, "pulse-") || BrokerHeader(name)
}

// BrokerHeader reports whether name is one that RabbitMQ writes, or reads as
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

// Headers returns the headers of m on a broker that has properties for id, type,
// content type and encoding, correlation id and producer, as AMQP has: m's own,
// and those of the contract for the other fields, and for the correlation id
// once more. An empty field but for the topic has no header. Values are strings,
// but for HeaderSeq and HeaderVersion, int64s. The map is the caller's: a publisher to a broker
// where something else says the topic, such as a routing key, deletes HeaderTopic.
func Headers(m Message) map[string]any {
	headers := make(map[string]any, len(m.Headers)+6)
	for name, value := range m.Headers {
		headers[name] = value
	}
	set := func(name, value string) {
		if value != "" {
			headers[name] = value
		}
	}
	headers[HeaderTopic] = m.Topic
	set(HeaderCorrelationID, m.CorrelationID)
	set(HeaderCausationID, m.CausationID)
	set(HeaderKey, m.Key)
	set(HeaderSignature, m.Signature)
	set(HeaderEncryption, m.Encryption)
	if m.Seq != 0 {
		headers[HeaderSeq] = m.Seq
	}
	if m.Version != 0 {
		headers[HeaderVersion] = int64(m.Version)
	}
	if !m.OccurredAt.IsZero() {
		headers[HeaderOccurredAt] = m.OccurredAt.UTC().Format(time.RFC3339Nano)
	}
	return headers
}

// AllHeaders returns headers for all of m but its payload, as text: for brokers
// whose messages have no properties. The map is the caller's.
func AllHeaders(m Message) map[string]string {
	headers := make(map[string]string, len(m.Headers)+11)
	for name, value := range Headers(m) {
		headers[name], _ = Scalar(value) // a string or an int64
	}
	for _, property := range []struct{ name, value string }{
		{HeaderID, m.ID},
		{HeaderType, m.Type},
		{HeaderContentType, m.ContentType},
		{HeaderContentEncoding, m.ContentEncoding},
		{HeaderProducer, m.Producer},
	} {
		if property.value != "" {
			headers[property.name] = property.value
		}
	}
	return headers
}

// ReadHeaders completes m from headers. Of m it takes what the broker's own
// properties said: these count before headers, but for the topic, which a retry
// replaces by the name of a queue, and the time, which properties hold in whole
// seconds. Where the broker has no properties m holds the payload alone. The
// values of headers are strings, []byte, numbers or the like; those that are no
// scalars, such as AMQP's tables, do not become a header of m, and neither do
// those with a reserved name.
//
// It is lenient with what producers leave out, the id included: see CheckID. An
// error matches ErrUndecodable, and m is complete as far as it could be read.
func ReadHeaders[V any](m *Message, headers map[string]V) error {
	text := func(name string) string {
		value, _ := Scalar(headers[name])
		return value
	}
	m.ID = cmp.Or(m.ID, text(HeaderID))
	m.Topic = cmp.Or(text(HeaderTopic), m.Topic)
	m.Type = cmp.Or(m.Type, text(HeaderType))
	m.Key = cmp.Or(m.Key, text(HeaderKey))
	m.Signature = cmp.Or(m.Signature, text(HeaderSignature))
	m.Encryption = cmp.Or(m.Encryption, text(HeaderEncryption))
	m.ContentType = cmp.Or(m.ContentType, text(HeaderContentType), DefaultContentType)
	m.ContentEncoding = cmp.Or(m.ContentEncoding, text(HeaderContentEncoding))
	m.CorrelationID = cmp.Or(m.CorrelationID, text(HeaderCorrelationID))
	m.CausationID = cmp.Or(m.CausationID, text(HeaderCausationID))
	m.Producer = cmp.Or(m.Producer, text(HeaderProducer))
	if seq, err := strconv.ParseInt(text(HeaderSeq), 10, 64); err == nil {
		m.Seq = seq
	}
	version, versionErr := ParseVersion(text(HeaderVersion))
	m.Version = cmp.Or(m.Version, version)
	for name, value := range headers {
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
	if at := text(HeaderOccurredAt); at != "" {
		occurred, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			return fmt.Errorf("%w: header %s: %w", ErrUndecodable, HeaderOccurredAt, err)
		}
		m.OccurredAt = occurred.UTC()
	}
	if versionErr != nil {
		return fmt.Errorf("%w: header %s: %w", ErrUndecodable, HeaderVersion, versionErr)
	}
	return nil
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
