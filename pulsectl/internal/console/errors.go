package console

import (
	"fmt"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Fail writes the error that ended a command to stderr: as JSON if the result
// would have been JSON, otherwise as error, cause and hint.
func (c *IO) Fail(e *fail.Error) {
	if e.Silent {
		return
	}
	if f := c.Resolved(); f == JSON || f == JSONL {
		type body struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Hint    string `json:"hint,omitempty"`
		}
		_ = writeJSON(c.Err, struct {
			Error body `json:"error"`
		}{body{string(e.Kind), e.Error(), e.Hint}})
		return
	}
	say := func(t Tone, label, text string, width int) {
		fmt.Fprintln(c.Err, wrap(c.PaintErr(t, label)+" ", visible(text), width))
	}
	say(Bad, "error:", e.Message, c.errWidth())
	if e.Cause != nil {
		say(Dim, "cause:", e.Cause.Error(), c.errWidth())
	}
	if e.Hint != "" { // not wrapped, so that it can be copied
		say(Good, "hint: ", e.Hint, 0)
	}
}
