// Package asyncapi describes contracts and the topology of a broker as a document
// of AsyncAPI 3.0.
package asyncapi

// version of the specification.
const version = "3.0.0"

// bindingVersion is that of the AMQP bindings.
const bindingVersion = "0.3.0"

// Document is a document of AsyncAPI. Its JSON has the order of the fields.
type Document struct {
	AsyncAPI           string               `json:"asyncapi"`
	Info               Info                 `json:"info"`
	Servers            map[string]Server    `json:"servers,omitempty"`
	DefaultContentType string               `json:"defaultContentType"`
	Channels           map[string]Channel   `json:"channels"`
	Operations         map[string]Operation `json:"operations"`
	Components         Components           `json:"components"`
}

// Info says what the document is about.
type Info struct {
	Title       string `json:"title"`
	Version     string `json:"version"`
	Description string `json:"description,omitempty"`
}

// Server is a broker.
type Server struct {
	Host            string `json:"host"`
	Pathname        string `json:"pathname,omitempty"`
	Protocol        string `json:"protocol"`
	ProtocolVersion string `json:"protocolVersion"`
}

// Ref is a reference within the document.
type Ref struct {
	To string `json:"$ref"`
}

// Channel is a routing key of an exchange, or a queue.
type Channel struct {
	Address        string         `json:"address"`
	Title          string         `json:"title"`
	Description    string         `json:"description"`
	Messages       map[string]Ref `json:"messages"`
	Bindings       channelBinding `json:"bindings"`
	RoutingKeys    []string       `json:"x-routing-keys,omitempty"`    // that the queue is bound with
	QueueArguments map[string]any `json:"x-queue-arguments,omitempty"` // for which the binding has no field
}

type channelBinding struct {
	AMQP struct {
		Is       string    `json:"is"`
		Exchange *exchange `json:"exchange,omitempty"`
		Queue    *queue    `json:"queue,omitempty"`
		Version  string    `json:"bindingVersion"`
	} `json:"amqp"`
}

type exchange struct {
	Name       string `json:"name"`
	Type       string `json:"type,omitempty"`
	PluginType string `json:"x-type,omitempty"` // one that AsyncAPI has no name for
	Durable    bool   `json:"durable"`
	AutoDelete bool   `json:"autoDelete"`
}

type queue struct {
	Name       string `json:"name"`
	Durable    bool   `json:"durable"`
	Exclusive  bool   `json:"exclusive"`
	AutoDelete bool   `json:"autoDelete"`
}

// Operation is what an application does with a channel.
type Operation struct {
	Action   string           `json:"action"`
	Channel  Ref              `json:"channel"`
	Title    string           `json:"title"`
	Summary  string           `json:"summary"`
	Bindings operationBinding `json:"bindings"`
	Messages []Ref            `json:"messages"`
}

type operationBinding struct {
	AMQP struct {
		DeliveryMode int    `json:"deliveryMode,omitempty"`
		Mandatory    bool   `json:"mandatory,omitempty"`
		Timestamp    bool   `json:"timestamp,omitempty"`
		Ack          bool   `json:"ack,omitempty"`
		Version      string `json:"bindingVersion"`
	} `json:"amqp"`
}

// Components are what other parts refer to.
type Components struct {
	Messages       map[string]Message       `json:"messages"`
	Schemas        map[string]any           `json:"schemas"`
	CorrelationIDs map[string]correlationID `json:"correlationIds"`
}

// Message is a version of a contract.
type Message struct {
	Name          string         `json:"name"`
	Title         string         `json:"title"`
	Description   string         `json:"description,omitempty"`
	ContentType   string         `json:"contentType"`
	CorrelationID Ref            `json:"correlationId"`
	Headers       any            `json:"headers"`
	Payload       Ref            `json:"payload"`
	Bindings      messageBinding `json:"bindings"`
}

type messageBinding struct {
	AMQP struct {
		MessageType string `json:"messageType,omitempty"`
		Version     string `json:"bindingVersion"`
	} `json:"amqp"`
}

type correlationID struct {
	Description string `json:"description"`
	Location    string `json:"location"`
}
