package rabbitmq

import (
	"errors"
	"fmt"
	"maps"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// encode makes a publishing of a message. The error is of a class of package
// outbox.
func (p *Publisher) encode(m *outbox.Message) (_ rabbit.Publishing, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			// A defect of the program, which the next one may lack: the message is
			// tried again.
			err = outbox.Rejected(fmt.Errorf("a function of PublisherConfig panicked: %v", panicked))
		}
	}()
	w := m.Wire(p.cfg.Producer)
	if p.cfg.Codec != nil {
		if err := encode(p.cfg.Codec, &w); err != nil {
			return rabbit.Publishing{}, outbox.Permanent(err)
		}
	}
	key := m.Topic
	if p.cfg.RoutingKey != nil {
		key = p.cfg.RoutingKey(*m)
	}
	publishing := rabbit.NewPublishing(w, p.cfg.Exchange, key)
	if p.cfg.TopicHeader || p.cfg.routesByHeaders() {
		publishing.Headers[wire.HeaderTopic] = w.Topic
	}
	publishing.Optional = p.cfg.AllowUnroutable != nil && p.cfg.AllowUnroutable(m.Topic)
	if p.cfg.RoutingHeaders == nil {
		return publishing, nil
	}
	for name, value := range p.cfg.RoutingHeaders(*m) {
		if wire.ReservedHeader(name) {
			return rabbit.Publishing{}, outbox.Permanent(fmt.Errorf("RoutingHeaders: %q is reserved", name))
		}
		publishing.Headers[name] = value
	}
	return publishing, nil
}

var errOtherID = errors.New("Codec: has changed the message's id, by which consumers recognise copies")

func encode(codec wire.Encoder, m *wire.Message) error {
	id := m.ID
	if m.Headers = maps.Clone(m.Headers); m.Headers == nil {
		m.Headers = make(map[string]string)
	}
	switch err := codec.Encode(m); {
	case err != nil:
		return fmt.Errorf("Codec: %w", err)
	case m.ID != id:
		return errOtherID
	}
	return nil
}
