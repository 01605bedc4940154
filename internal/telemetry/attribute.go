package telemetry

import (
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Keys of the semantic conventions.
const (
	SystemKey         = semconv.MessagingSystemKey
	OperationNameKey  = semconv.MessagingOperationNameKey
	OperationTypeKey  = semconv.MessagingOperationTypeKey
	DestinationKey    = semconv.MessagingDestinationNameKey
	ConsumerKey       = semconv.MessagingConsumerGroupNameKey // the name of an inbox's consumer
	MessageIDKey      = semconv.MessagingMessageIDKey
	ConversationIDKey = semconv.MessagingMessageConversationIDKey // the correlation id
	RoutingKeyKey     = semconv.MessagingRabbitMQDestinationRoutingKeyKey
	BatchCountKey     = semconv.MessagingBatchMessageCountKey
	ErrorTypeKey      = semconv.ErrorTypeKey
	ServerAddressKey  = semconv.ServerAddressKey
	ServerPortKey     = semconv.ServerPortKey
)

// Keys of our own.
const (
	TopicKey      = attribute.Key("pulse.topic")           // of a message
	OutboxNameKey = attribute.Key("pulse.outbox.name")     // of one of several outboxes, as outbox.NewRelays was given it
	VerdictKey    = attribute.Key("pulse.outbox.verdict")  // "published", or why not
	OutcomeKey    = attribute.Key("pulse.inbox.outcome")   // what became of a delivery
	AttemptKey    = attribute.Key("pulse.inbox.attempt")   // from 1
	ConnectionKey = attribute.Key("pulse.connection.name") // as the broker's tools show it
	StateKey      = attribute.Key("pulse.connection.state")
)

// Operation is something that is done to messages, by its name and its type in the
// conventions.
type Operation struct{ Name, Type string }

// The operations.
var (
	Create  = Operation{"create", semconv.MessagingOperationTypeCreate.Value.AsString()}
	Publish = Operation{"publish", semconv.MessagingOperationTypeSend.Value.AsString()}
	Receive = Operation{"receive", semconv.MessagingOperationTypeReceive.Value.AsString()}
	Process = Operation{"process", semconv.MessagingOperationTypeProcess.Value.AsString()}
	Settle  = Operation{"settle", semconv.MessagingOperationTypeSettle.Value.AsString()}
)

// Untyped returns the operation by its name alone, as metrics have it whose name says
// the type.
func (o Operation) Untyped() Operation { return Operation{Name: o.Name} }

// Attributes returns the operation's name and, if it has one, its type.
func (o Operation) Attributes() []attribute.KeyValue {
	if o.Type == "" {
		return []attribute.KeyValue{OperationNameKey.String(o.Name)}
	}
	return []attribute.KeyValue{OperationNameKey.String(o.Name), OperationTypeKey.String(o.Type)}
}

// Endpoint is where messages go or come from.
type Endpoint struct {
	System      string // such as "rabbitmq"; empty: not known
	Destination string // an exchange to publish to, a queue to consume
	Address     string // of the broker, host name or IP address; empty: not known
	Port        int    // 0: not known
}

// otherSystem stands for a broker whose publisher or source does not say what it is.
const otherSystem = "_OTHER"

// Attributes returns what is known of the endpoint. The system is always there, as
// the conventions require.
func (e Endpoint) Attributes() []attribute.KeyValue {
	attributes := make([]attribute.KeyValue, 0, 4)
	if e.System == "" {
		e.System = otherSystem
	}
	attributes = append(attributes, SystemKey.String(e.System))
	if e.Destination != "" {
		attributes = append(attributes, DestinationKey.String(e.Destination))
	}
	if e.Address != "" {
		attributes = append(attributes, ServerAddressKey.String(e.Address))
		if e.Port != 0 {
			attributes = append(attributes, ServerPortKey.Int(e.Port))
		}
	}
	return attributes
}
