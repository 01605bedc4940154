package asyncapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/schema"
	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/outbox/wire/contract"
)

// Role says whose operations a document has.
type Role string

// The roles.
const (
	Both     Role = "both"
	Producer Role = "producer"
	Consumer Role = "consumer"
)

// Options of Describe.
type Options struct {
	Title, Version string
	Role           Role
	Topics         map[string]string  // topics of contracts that are named by type
	Layout         inboxrabbit.Layout // exchange, queues and bindings
	Server         *url.URL           // of the broker; nil: the document has none
}

// Described is the result of Describe.
type Described struct {
	Document Document
	Lost     []string // places in schemas that say what AsyncAPI cannot
	Unbound  []string // topics that the queue is not bound to
}

// Describe makes the document of the contracts in a directory.
func Describe(dir fs.FS, contracts []contract.Contract, o Options) (Described, error) {
	for name := range o.Topics {
		if !slices.ContainsFunc(contracts, func(c contract.Contract) bool { return c.Name == name }) {
			return Described{}, fmt.Errorf("there is no contract for type %q", name)
		}
	}
	d := &describer{
		Options: o, schemas: newTranslator(schema.NewLibrary(dir)), keys: make(map[string]bool),
		doc: Document{
			AsyncAPI: version, Info: Info{Title: o.Title, Version: o.Version, Description: about}, DefaultContentType: wire.DefaultContentType,
			Channels: make(map[string]Channel), Operations: make(map[string]Operation),
		},
	}
	d.schemas.taken[headersName] = true
	d.doc.Components = Components{
		Messages: make(map[string]Message), Schemas: d.schemas.schemas,
		CorrelationIDs: map[string]correlationID{"correlationId": {"Names the business action, from its first request to its last message.", "$message.header#/" + wire.HeaderCorrelationID}},
	}
	d.schemas.schemas[headersName] = headers()
	if o.Server != nil {
		d.doc.Servers = map[string]Server{"broker": {o.Server.Host, strings.TrimSuffix(o.Server.Path, "/"), o.Server.Scheme, "0.9.1"}}
	}
	topics, err := d.messages(contracts)
	if err != nil {
		return Described{}, err
	}
	unbound := d.topology(topics)
	return Described{d.doc, slices.Sorted(maps.Keys(d.schemas.lost)), unbound}, nil
}

// describer builds a document.
type describer struct {
	Options
	schemas *translator
	keys    map[string]bool // of channels and operations that are taken
	doc     Document
}

// topic has its messages by their names in components.
type topic struct {
	name     string
	messages []string
}

// messages adds the messages, and returns the topics they are published to.
func (d *describer) messages(contracts []contract.Contract) (topics []topic, err error) {
	taken := make(map[string]bool)
	for _, c := range contracts {
		name, typed := d.Topics[c.Name]
		if !typed {
			name = c.Name
		}
		payload, err := d.schemas.component(c.File, "")
		if err != nil {
			return nil, err
		}
		s := d.schemas.schemas[payload]
		m := Message{
			Name: c.String(), Title: text(s, "title"), Description: text(s, "description"), ContentType: wire.DefaultContentType,
			CorrelationID: Ref{"#/components/correlationIds/correlationId"}, Headers: versioned(c.Version), Payload: Ref{"#/components/schemas/" + payload},
		}
		if m.Title == "" {
			m.Title = c.Name
		}
		if typed {
			m.Bindings.AMQP.MessageType = c.Name
		}
		m.Bindings.AMQP.Version = bindingVersion
		key := unique(identifier(c.String()), taken)
		d.doc.Components.Messages[key] = m
		at := slices.IndexFunc(topics, func(t topic) bool { return t.name == name })
		if at < 0 {
			topics = append(topics, topic{name: name})
			at = len(topics) - 1
		}
		topics[at].messages = append(topics[at].messages, key)
	}
	return topics, nil
}

// topology adds channels and operations. It returns the topics that do not reach
// the queue.
func (d *describer) topology(topics []topic) (unbound []string) {
	var received []string
	for _, t := range topics {
		if d.Role != Consumer {
			d.send(t)
		}
		if d.bound(t.name) {
			received = append(received, t.messages...)
		} else {
			unbound = append(unbound, t.name)
		}
	}
	if d.Role != Producer && len(received) > 0 {
		d.receive(received)
	}
	return unbound
}

func (d *describer) send(t topic) {
	c := Channel{Address: t.name, Title: t.name, Messages: messageRefs(t.messages),
		Description: fmt.Sprintf("Messages with the routing key `%s`, on the exchange `%s`.", t.name, d.Layout.Exchange.Name)}
	e := &exchange{Name: d.Layout.Exchange.Name, Type: d.Layout.Exchange.Type, Durable: true}
	if !slices.Contains([]string{"topic", "direct", "fanout", "headers"}, e.Type) {
		e.Type, e.PluginType = "", e.Type
	}
	c.Bindings.AMQP.Is, c.Bindings.AMQP.Exchange, c.Bindings.AMQP.Version = "routingKey", e, bindingVersion
	o := Operation{Action: "send", Title: "Publish " + t.name,
		Summary: "From the outbox: published if and only if the transaction of the change commits, and confirmed by the broker. Copies of a message have the same message_id."}
	o.Bindings.AMQP.DeliveryMode, o.Bindings.AMQP.Mandatory, o.Bindings.AMQP.Timestamp, o.Bindings.AMQP.Version = 2, true, true, bindingVersion
	d.add(unique(identifier(t.name), d.keys), c, "send."+identifier(t.name), o)
}

func (d *describer) receive(messages []string) {
	q := d.Layout.Queues[0]
	c := Channel{Address: q.Name, Title: "Queue " + q.Name, Messages: messageRefs(messages), QueueArguments: q.Arguments,
		Description: fmt.Sprintf("Messages that fail wait in retry queues, and end in `%s` when there is no next attempt.", d.Layout.Queues[1].Name)}
	for _, b := range d.Layout.Bindings {
		if b.RoutingKey != "" {
			c.RoutingKeys = append(c.RoutingKeys, b.RoutingKey)
		}
	}
	c.Bindings.AMQP.Is, c.Bindings.AMQP.Queue, c.Bindings.AMQP.Version = "queue", &queue{Name: q.Name, Durable: true}, bindingVersion
	o := Operation{Action: "receive", Title: "Consume " + q.Name,
		Summary: "Into the inbox: acknowledged after the commit of the effect. A message_id that was applied before has no effect again."}
	o.Bindings.AMQP.Ack, o.Bindings.AMQP.Version = true, bindingVersion
	d.add(unique(identifier("queue."+q.Name), d.keys), c, "receive."+identifier(q.Name), o)
}

// add adds a channel, and the operation on all of its messages.
func (d *describer) add(key string, c Channel, operation string, o Operation) {
	at := "#/channels/" + key
	o.Channel = Ref{at}
	for _, name := range slices.Sorted(maps.Keys(c.Messages)) {
		o.Messages = append(o.Messages, Ref{at + "/messages/" + name})
	}
	d.doc.Channels[key] = c
	d.doc.Operations[unique(operation, d.keys)] = o
}

func messageRefs(names []string) map[string]Ref {
	refs := make(map[string]Ref, len(names))
	for _, name := range names {
		refs[name] = Ref{"#/components/messages/" + name}
	}
	return refs
}

// bound reports whether messages of a topic get to the queue.
func (d *describer) bound(topic string) bool {
	for _, b := range d.Layout.Bindings {
		switch d.Layout.Exchange.Type {
		case "topic":
			mux := inbox.NewMux(inbox.MuxConfig{}) // which routes as bindings do
			mux.HandleTopic(b.RoutingKey, func(context.Context, inbox.Tx, inbox.Message) error { return nil })
			if mux.Handle(context.Background(), nil, inbox.Message{Topic: topic}) == nil {
				return true
			}
		case "direct":
			if b.RoutingKey == topic {
				return true
			}
		default: // headers and plugins decide by what is not in a contract
			return true
		}
	}
	return false
}

// JSON returns the document as JSON.
func (d Document) JSON() ([]byte, error) { return json.MarshalIndent(d, "", "  ") }

// YAML returns the document as YAML, in the same order.
func (d Document) YAML() ([]byte, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(text)
}
