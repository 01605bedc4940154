package deadletters

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"mime"
	"slices"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/outbox/wire/cloudevents"
	"github.com/asimalizada/pulse-events/outbox/wire/nestjs"
)

// Envelope is what a letter's body or headers say in the format of another tool.
type Envelope struct {
	Format string // "CloudEvents", "MassTransit" or "NestJS"
	// What the format has for these; empty: nothing.
	ID, Type, Source, CorrelationID string

	OccurredAt time.Time
	Attributes map[string]string // further ones, by the names of the format
	Payload    []byte            // inside the envelope; nil: it could not be read
	Problem    string            // why not everything could be read; empty: it could
}

// Formats of envelopes.
const (
	formatCloudEvents = "CloudEvents"
	formatMassTransit = "MassTransit"
	formatNestJS      = "NestJS"
)

// envelope returns nil for a message without one. It looks into the body only
// where the content type or its beginning says that there is one.
func envelope(d inboxrabbit.DeadLetter) *Envelope {
	mediaType, _, _ := mime.ParseMediaType(d.Raw.ContentType)
	switch {
	case strings.HasPrefix(mediaType, "application/cloudevents"), has(d.Raw.Headers, "cloudEvents:specversion"), has(d.Raw.Headers, "cloudEvents_specversion"):
		return cloudEvent(d)
	case mediaType == "application/vnd.masstransit+json":
		return massTransit(d.Body)
	case bytes.HasPrefix(bytes.TrimLeft(d.Body[:min(len(d.Body), 64)], " \t\r\n"), []byte(`{"pattern"`)):
		return nest(d)
	}
	return nil
}

func has(headers map[string]any, name string) bool {
	_, found := headers[name]
	return found
}

func cloudEvent(d inboxrabbit.DeadLetter) *Envelope {
	e := &Envelope{Format: formatCloudEvents}
	m := wire.Message{ContentType: d.Raw.ContentType, Payload: d.Body}
	if err := wire.ReadHeaders(&m, d.Raw.Headers); err != nil {
		e.Problem = err.Error()
	}
	m.ID, m.Type, m.CorrelationID, m.OccurredAt = "", "", "", time.Time{} // as the envelope says
	if err := (cloudevents.Codec{}).Decode(&m); err != nil {
		e.Problem = err.Error()
	}
	e.ID, e.Type, e.CorrelationID, e.OccurredAt, e.Payload = m.ID, m.Type, m.CorrelationID, m.OccurredAt, m.Payload
	e.Attributes = make(map[string]string)
	for name, value := range m.Headers {
		for _, prefix := range []string{cloudevents.Prefix, "cloudEvents_"} {
			if attribute, is := strings.CutPrefix(name, prefix); is {
				e.Attributes[attribute] = value
			}
		}
	}
	e.Source = e.Attributes["source"]
	return e
}

// massTransit reads the envelope that MassTransit's documentation describes under
// "Message Envelope".
func massTransit(body []byte) *Envelope {
	e := &Envelope{Format: formatMassTransit}
	var in struct {
		MessageID          string          `json:"messageId"`
		ConversationID     string          `json:"conversationId"`
		CorrelationID      string          `json:"correlationId"`
		InitiatorID        string          `json:"initiatorId"`
		SourceAddress      string          `json:"sourceAddress"`
		DestinationAddress string          `json:"destinationAddress"`
		MessageType        []string        `json:"messageType"`
		Message            json.RawMessage `json:"message"`
		SentTime           time.Time       `json:"sentTime"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		e.Problem = err.Error()
	}
	e.ID, e.Source, e.Payload, e.OccurredAt = in.MessageID, in.SourceAddress, in.Message, in.SentTime
	e.CorrelationID = cmp.Or(in.CorrelationID, in.ConversationID)
	if len(in.MessageType) > 0 {
		e.Type = strings.TrimPrefix(in.MessageType[0], "urn:message:")
	}
	e.Attributes = map[string]string{
		"conversationId": in.ConversationID, "initiatorId": in.InitiatorID, "destinationAddress": in.DestinationAddress,
		"messageType": strings.Join(in.MessageType, ", "),
	}
	maps.DeleteFunc(e.Attributes, func(_, value string) bool { return value == "" })
	return e
}

func nest(d inboxrabbit.DeadLetter) *Envelope {
	m := wire.Message{Payload: d.Body}
	err := nestjs.Codec{}.Decode(&m)
	if err == nil && m.Type == "" {
		return nil // it only begins like one
	}
	e := &Envelope{Format: formatNestJS, Type: m.Type, Payload: m.Payload}
	if err != nil {
		e.Problem = err.Error()
	}
	return e
}

// failure is what another tool says about why a message is a dead letter.
type failure struct {
	reason, error, consumer string
	at                      time.Time
}

// foreignFailure reads the headers of MassTransit, Spring AMQP and NServiceBus.
func foreignFailure(headers map[string]any) (f failure) {
	first := func(names ...string) string {
		for _, name := range names {
			if text, _ := wire.Scalar(headers[name]); text != "" {
				return text
			}
		}
		return ""
	}
	f.reason = first("MT-Reason")
	f.error = first("MT-Fault-Message", "x-exception-message", "NServiceBus.ExceptionInfo.Message")
	f.consumer = first("MT-Fault-ConsumerType", "NServiceBus.FailedQ")
	if at, err := time.Parse(time.RFC3339, first("MT-Fault-Timestamp")); err == nil {
		f.at = at.UTC()
	}
	return f
}

// Death is an entry of x-death: a queue from which the broker dead-lettered the
// message, and how often.
type Death struct {
	Queue, Reason, Exchange string
	RoutingKeys             []string
	Count                   int64
	At                      time.Time // for the first time
}

func deaths(headers map[string]any) (all []Death) {
	for _, entry := range tables(headers["x-death"]) {
		d := Death{Queue: scalar(entry["queue"]), Reason: scalar(entry["reason"]), Exchange: scalar(entry["exchange"])}
		d.Count, _ = entry["count"].(int64)
		if at, ok := entry["time"].(time.Time); ok {
			d.At = at.UTC()
		}
		keys, _ := entry["routing-keys"].([]any)
		for _, key := range keys {
			d.RoutingKeys = append(d.RoutingKeys, scalar(key))
		}
		all = append(all, d)
	}
	return all
}

// Travel is an entry of x-shovelled or x-received-from: who moved the message,
// from one broker or queue to another.
type Travel struct {
	By     string // "shovel" or "federation"
	Fields []Field
}

// Field is what such an entry says.
type Field struct{ Name, Value string }

func travels(headers map[string]any) (all []Travel) {
	for _, kind := range []struct{ header, by string }{{"x-received-from", "federation"}, {"x-shovelled", "shovel"}} {
		for _, entry := range tables(headers[kind.header]) {
			t := Travel{By: kind.by}
			for _, name := range slices.Sorted(maps.Keys(entry)) {
				t.Fields = append(t.Fields, Field{name, scalar(entry[name])})
			}
			all = append(all, t)
		}
	}
	return all
}

// tables returns the tables in a header that holds a list of them.
func tables(header any) (all []amqp.Table) {
	list, _ := header.([]any)
	for _, entry := range list {
		if table, ok := entry.(amqp.Table); ok {
			all = append(all, table)
		}
	}
	return all
}

func scalar(value any) string {
	text, _ := wire.Scalar(value)
	return text
}

func clipped(text string) string { return clip.Text(text, maxError, "…") }
