package asyncapi

import "github.com/asimalizada/pulse-events/outbox/wire"

// headersName is the component with the headers of all messages.
const headersName = "headers"

// about are the properties of messages, for which AsyncAPI has no place.
const about = "Messages are plain AMQP 0-9-1. Beside headers and body they have these properties: `message_id`, the id of the event, by which consumers " +
	"recognise copies; `type`, of the event; `content_type`; `correlation_id`; `app_id`, the service that published it; `timestamp`, when the event " +
	"occurred, in whole seconds; `delivery_mode` 2.\n\nContracts are JSON Schemas of draft 2020-12; the schemas here are translated from them."

// headers is the schema of the headers that docs/wire.md lists.
func headers() any {
	text := func(description string) any { return map[string]any{"type": "string", "description": description} }
	return map[string]any{
		"type": "object", "description": "Any other header is the producer's own.", "additionalProperties": map[string]any{"type": "string"},
		"properties": map[string]any{
			wire.HeaderCorrelationID: text("names the business action, from its first request to its last message"),
			wire.HeaderCausationID:   text("the id of the message that led to this one"),
			wire.HeaderTraceParent:   text("the trace context (W3C)"),
			wire.HeaderTraceState:    text("the trace context (W3C)"),
			wire.HeaderTopic:         text("the topic, where the routing key is another one"),
			wire.HeaderKey:           text("messages of one key are published in the order in which they were enqueued"),
			wire.HeaderSeq:           map[string]any{"type": "integer", "description": "the place in the outbox; grows within a key, not without gaps"},
			wire.HeaderOccurredAt:    map[string]any{"type": "string", "format": "date-time", "description": "when the event occurred"},
			wire.HeaderSignature:     text("how the message is signed, where it is"),
			wire.HeaderEncryption:    text("how the payload is encrypted, where it is"),
			wire.HeaderVersion:       map[string]any{"type": "integer", "minimum": 1, "maximum": wire.MaxVersion, "description": "the version of the contract; without it, 1"},
		},
	}
}

// versioned is the schema of the headers of messages of a version. One without a
// version is of version 1.
func versioned(version int) any {
	says := map[string]any{"properties": map[string]any{wire.HeaderVersion: map[string]any{"const": version}}}
	if version > 1 {
		says["required"] = []any{wire.HeaderVersion}
	}
	return map[string]any{"type": "object", "allOf": []any{map[string]any{"$ref": "#/components/schemas/" + headersName}, says}}
}
