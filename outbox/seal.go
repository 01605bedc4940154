package outbox

import (
	"fmt"
	"maps"
	"strconv"

	"github.com/asimalizada/pulse-events/outbox/wire"
)

// WithSealer makes Enqueue sign or encrypt what it stores, after everything else was
// checked: what lies in the outbox, in queues and among dead letters is what s makes
// of payload, content type and headers. Package outbox/wire/seal has one, and
// inbox.ConsumerConfig.Opener is the other side. Defaults to none.
func WithSealer(s wire.Encoder) Option { return func(o *Outbox) { o.sealer = s } }

// seal protects a complete message.
func (o *Outbox) seal(m *Message) error {
	m.Signature, m.Encryption = "", ""
	if o.sealer == nil {
		return nil
	}
	w := m.Wire("")
	w.Headers = maps.Clone(w.Headers)
	if w.Headers == nil {
		w.Headers = map[string]string{}
	}
	if err := o.sealer.Encode(&w); err != nil {
		return fmt.Errorf("seal message %s: %w", m.ID, err)
	}
	m.Payload, m.ContentType, m.Headers, m.Signature, m.Encryption = w.Payload, w.ContentType, w.Headers, w.Signature, w.Encryption
	return nil
}

// storedHeaders returns the headers of m as its row has them: with those of the
// contract that the table has no column for.
func (m *Message) storedHeaders() map[string]string {
	if m.Signature == "" && m.Encryption == "" && m.Version == 0 {
		return m.Headers
	}
	headers := make(map[string]string, len(m.Headers)+3)
	maps.Copy(headers, m.Headers)
	set := func(name, value string) {
		if value != "" {
			headers[name] = value
		}
	}
	set(wire.HeaderSignature, m.Signature)
	set(wire.HeaderEncryption, m.Encryption)
	if m.Version != 0 {
		set(wire.HeaderVersion, strconv.Itoa(m.Version))
	}
	return headers
}

// takeHeader removes a header of the contract from those of a row, and returns it.
func takeHeader(headers map[string]string, name string) string {
	value := headers[name]
	delete(headers, name)
	return value
}
