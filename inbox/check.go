package inbox

import (
	"context"
	"errors"
	"fmt"
)

// ErrUndecided matches the errors of Mux.Check and ConsumerConfig.Check that say
// nothing against a message: whether it can be handled cannot be known without
// calling its handler, or without a key.
var ErrUndecided = errors.New("cannot be told")

// Check reports why Handle would dead-letter a message that its handler has not
// seen, and calls no handler and no middleware: it runs the upcasters, looks for the
// route, and decodes as a handler that JSON or Decode has made does. Of another
// handler the error matches ErrUndecided.
func (m *Mux) Check(ctx context.Context, msg Message) error {
	return safely(func() error {
		msg, err := m.upcast(ctx, msg)
		if err != nil {
			return err
		}
		r, found := m.find(msg)
		switch {
		case !found && m.cfg.Unknown == IgnoreUnknown:
			return nil
		case !found:
			return unknownType(msg)
		case !decodes(r.bare):
			return fmt.Errorf("%w: the handler of type %q, topic %q decodes messages itself", ErrUndecided, msg.Type, msg.Topic)
		}
		return r.bare(context.WithValue(ctx, checking{}, true), nil, msg)
	})
}

// Check reports why a consumer with these settings would dead-letter a message,
// before or in its handler, as far as that can be told without calling it: the
// Opener opens it, the Contracts check it, and mux checks it, see Mux.Check; without
// a mux the handlers are left out. Programs use it to look at what waits before they
// are deployed, see package pulsectl/pending. Of messages that are encrypted, without an
// Opener, the error matches ErrUndecided.
func (c ConsumerConfig) Check(ctx context.Context, mux *Mux, msg Message) error {
	if msg.Encryption != "" && c.Opener == nil {
		return fmt.Errorf("%w: it is encrypted", ErrUndecided)
	}
	d := c.open(Delivery{Message: msg})
	if d.Err != nil {
		return d.Err
	}
	if err := c.breach(d.Message); err != nil {
		return err
	}
	if mux == nil {
		return nil
	}
	return mux.Check(ctx, d.Message)
}
