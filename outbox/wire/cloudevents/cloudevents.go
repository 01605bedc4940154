// Package cloudevents has the formats of CloudEvents 1.0: binary, which adds an
// event's attributes to the headers, and structured, which puts attributes and
// payload into one JSON document.
//
// Attributes and fields of a message correspond as follows. Attributes in
// headers begin with "cloudEvents:"; "cloudEvents_" is read as well.
//
//	id               ID
//	source           Codec.Source
//	type             Type
//	time             OccurredAt
//	datacontenttype  ContentType; in binary mode the content type itself
//	partitionkey     Key (extension Partitioning)
//	correlationid    CorrelationID (extension Correlation)
//	causationid      CausationID (extension Correlation)
//	contractversion  Version, in digits (an extension of ours)
//	traceparent      the header of this name (extension Distributed Tracing)
//	tracestate       the header of this name
//
// Topic, Seq, Producer and the producer's own headers are no attributes. They
// travel beside, as in any other message.
package cloudevents

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/outbox/wire"
)

// Prefix begins the names of headers that hold attributes.
const Prefix = "cloudEvents:"

// otherPrefix is for systems that allow no colons in names.
const otherPrefix = "cloudEvents_"

const specVersion = "1.0"

// versionAttribute is the extension with the version of the contract. Names of
// attributes are lower-case letters and digits.
const versionAttribute = "contractversion"

// maxID is the longest id that an inbox stores, in bytes.
const maxID = 255

// Codec is a wire.Encoder and a wire.Decoder. The zero value decodes.
type Codec struct {
	// Source is the attribute source of all events: a URI reference, such as
	// "/orders" or "https://example.com/orders". Required to encode.
	Source string
	// Structured encodes events as one JSON document, of content type
	// application/cloudevents+json. Decode reads both modes.
	Structured bool
}

var (
	_ wire.Encoder = Codec{}
	_ wire.Decoder = Codec{}
)

// Validate returns what is wrong with an encoder's settings.
func (c Codec) Validate() error {
	if c.Source == "" {
		return errors.New("cloudevents: Source: is empty; set a URI reference that names the producer, such as /orders")
	}
	if _, err := url.Parse(c.Source); err != nil {
		return fmt.Errorf("cloudevents: Source: %w", err)
	}
	return nil
}

// Encode makes a CloudEvent of m. In structured mode JSON and text stay
// readable, and other payloads are encoded in base64.
func (c Codec) Encode(m *wire.Message) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if m.Type == "" {
		return errors.New("cloudevents: the message has no type, which is a required attribute")
	}
	attributes := map[string]string{
		"specversion":   specVersion,
		"id":            m.ID,
		"source":        c.Source,
		"type":          m.Type,
		"partitionkey":  m.Key,
		"correlationid": m.CorrelationID,
		"causationid":   m.CausationID,
		"traceparent":   m.Headers[wire.HeaderTraceParent],
		"tracestate":    m.Headers[wire.HeaderTraceState],
	}
	if m.Version != 0 {
		attributes[versionAttribute] = strconv.Itoa(m.Version)
	}
	if !m.OccurredAt.IsZero() {
		attributes["time"] = m.OccurredAt.UTC().Format(time.RFC3339Nano)
	}
	for name, value := range attributes {
		if value == "" {
			delete(attributes, name)
		}
	}
	if c.Structured {
		return writeDocument(m, attributes)
	}
	if m.Headers == nil {
		m.Headers = make(map[string]string, len(attributes))
	}
	for name, value := range attributes {
		m.Headers[Prefix+name] = value
	}
	return nil
}

// Decode reads events of both modes, and leaves other messages alone. What m
// has already stays, as a message_id or a type; attributes fill in what is
// missing. All attributes are headers afterwards, under their name behind
// Prefix, in both modes.
//
// An event without a message_id is identified by source and id together, as
// "source/id", or a SHA-256 of that where it is longer than an inbox stores.
func (c Codec) Decode(m *wire.Message) error {
	attributes := headerAttributes(m.Headers)
	switch mediaType := mediaTypeOf(m.ContentType); {
	case mediaType == "application/cloudevents+json":
		var err error
		if attributes, err = readDocument(m); err != nil {
			return fmt.Errorf("cloudevents: %w", err)
		}
	case strings.HasPrefix(mediaType, "application/cloudevents"):
		return fmt.Errorf("cloudevents: content type %q is not supported; send events one by one, as application/cloudevents+json", m.ContentType)
	case attributes["specversion"] == "":
		return nil // no CloudEvent
	}
	if version := attributes["specversion"]; version != specVersion {
		return fmt.Errorf("cloudevents: specversion %q is not supported; %s is", version, specVersion)
	}
	for _, name := range []string{"id", "source", "type"} {
		if attributes[name] == "" {
			return fmt.Errorf("cloudevents: attribute %s, which is required, is missing or empty", name)
		}
	}
	if at := attributes["time"]; at != "" && m.OccurredAt.IsZero() {
		occurred, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			return fmt.Errorf("cloudevents: attribute time: %w", err)
		}
		m.OccurredAt = occurred.UTC()
	}
	if m.Version == 0 {
		version, err := wire.ParseVersion(attributes[versionAttribute])
		if err != nil {
			return fmt.Errorf("cloudevents: attribute %s: %w", versionAttribute, err)
		}
		m.Version = version
	}
	if strings.TrimSpace(m.ID) == "" {
		m.ID = identity(attributes)
	}
	m.Type = cmp.Or(m.Type, attributes["type"])
	m.Key = cmp.Or(m.Key, attributes["partitionkey"])
	m.CorrelationID = cmp.Or(m.CorrelationID, attributes["correlationid"])
	m.CausationID = cmp.Or(m.CausationID, attributes["causationid"])
	if m.Headers == nil {
		m.Headers = make(map[string]string, len(attributes))
	}
	if m.Headers[wire.HeaderTraceParent] == "" && attributes["traceparent"] != "" {
		m.Headers[wire.HeaderTraceParent] = attributes["traceparent"]
		if state := attributes["tracestate"]; state != "" {
			m.Headers[wire.HeaderTraceState] = state
		}
	}
	for name, value := range attributes {
		delete(m.Headers, otherPrefix+name)
		m.Headers[Prefix+name] = value
	}
	return nil
}

// headerAttributes returns the attributes among headers.
func headerAttributes(headers map[string]string) map[string]string {
	attributes := make(map[string]string)
	for header, value := range headers {
		for _, prefix := range []string{Prefix, otherPrefix} {
			if name, found := strings.CutPrefix(header, prefix); found {
				attributes[name] = value
			}
		}
	}
	return attributes
}

// identity returns an id that tells this event from those of all sources.
func identity(attributes map[string]string) string {
	id := attributes["source"] + "/" + attributes["id"]
	if len(id) > maxID {
		sum := sha256.Sum256([]byte(id))
		id = "sha256:" + hex.EncodeToString(sum[:])
	}
	return id
}
