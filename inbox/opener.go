package inbox

import (
	"errors"
	"fmt"

	"github.com/asimalizada/pulse-events/outbox/wire"
)

// open checks and decrypts a message, as ConsumerConfig.Opener does. One that does
// not pass is not handled: it has the error of the opener, as one has that could not
// be read.
func (c ConsumerConfig) open(d Delivery) Delivery {
	if c.Opener == nil || unfit(d) != nil {
		return d
	}
	w := d.Message.wire()
	if err := safely(func() error { return c.Opener.Decode(&w) }); err != nil {
		if is[*PanicError](err) {
			err = fmt.Errorf("%w: %w", wire.ErrSignature, err)
		}
		d.Err = err
		return d
	}
	attempt, travelled := d.Message.Attempt, d.Message.Payload
	d.Message = FromWire(w)
	d.Message.Attempt, d.Message.travelled = attempt, travelled
	return d
}

// unfitReason is why a delivery that is not handled is dead-lettered.
func unfitReason(err error) Reason {
	if errors.Is(err, wire.ErrSignature) {
		return ReasonSignature
	}
	return ReasonUndecodable
}
