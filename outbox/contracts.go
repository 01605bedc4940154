package outbox

import (
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// WithContracts makes Enqueue refuse messages that break the contract of their
// type, while the caller can still roll back: the InvalidMessageError has the path
// of each fault. A message without a Version gets the newest. Defaults to none:
// payloads are not looked at. Package outbox/wire/contract reads contracts from
// files.
func WithContracts(c wire.Contracts) Option { return func(o *Outbox) { o.contracts = c } }

// satisfy sets the version of m where it has none, and returns what breaks its
// contract.
func (o *Outbox) satisfy(m *Message) error {
	if o.contracts == nil {
		return nil
	}
	if m.Version == 0 {
		m.Version = o.contracts.Newest(m.Wire(""))
	}
	return o.contracts.Check(m.Wire(""))
}

// takeVersion removes the version from the headers of a row and returns it. What
// is no version stays, for whoever looks at the row; the relay refuses it.
func takeVersion(headers map[string]string) int {
	version, err := wire.ParseVersion(headers[wire.HeaderVersion])
	if err == nil {
		delete(headers, wire.HeaderVersion)
	}
	return version
}
