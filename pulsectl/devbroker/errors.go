package devbroker

import (
	"errors"
	"fmt"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// ErrClosed is returned by methods of a broker that was closed.
var ErrClosed = errors.New("devbroker: broker is closed")

// exception is an AMQP error on its way to the client that caused it.
type exception struct {
	code   uint16
	text   string // as sent to the client, with the code's name in front
	hard   bool   // closes the connection and not only the channel
	method uint32 // the method that caused it; 0: none
}

func (e *exception) Error() string { return fmt.Sprintf("%d %s", e.code, e.text) }

// reply returns the text as it fits into a short string, cut like RabbitMQ's.
func (e *exception) reply() string {
	if len(e.text) > 255 {
		return e.text[:252] + "..."
	}
	return e.text
}

// during records the method that caused an exception.
func during(method uint32, err error) error {
	if e := (*exception)(nil); errors.As(err, &e) && e.method == 0 {
		e.method = method
	}
	return err
}

func softException(code uint16, name string) func(format string, args ...any) error {
	return func(format string, args ...any) error {
		return &exception{code: code, text: name + " - " + fmt.Sprintf(format, args...)}
	}
}

func hardException(code uint16, name string) func(format string, args ...any) error {
	return func(format string, args ...any) error {
		return &exception{code: code, text: name + " - " + fmt.Sprintf(format, args...), hard: true}
	}
}

// Names and codes of AMQP 0-9-1, as RabbitMQ uses them.
var (
	accessRefused      = softException(403, "ACCESS_REFUSED")
	notFound           = softException(404, "NOT_FOUND")
	resourceLocked     = softException(405, "RESOURCE_LOCKED")
	preconditionFailed = softException(406, "PRECONDITION_FAILED")

	connectionForced = hardException(320, "CONNECTION_FORCED")
	loginRefused     = hardException(403, "ACCESS_REFUSED")
	frameError       = hardException(501, "FRAME_ERROR")
	syntaxError      = hardException(502, "SYNTAX_ERROR")
	commandInvalid   = hardException(503, "COMMAND_INVALID")
	channelError     = hardException(504, "CHANNEL_ERROR")
	unexpectedFrame  = hardException(505, "UNEXPECTED_FRAME")
	resourceError    = hardException(506, "RESOURCE_ERROR")
	notAllowed       = hardException(530, "NOT_ALLOWED")
	notImplemented   = hardException(540, "NOT_IMPLEMENTED")
	internalError    = hardException(541, "INTERNAL_ERROR")
)

// asException returns the exception to send for err, or nil if it is a network
// error and there is no client to answer.
func asException(err error) *exception {
	var e *exception
	var frame *wire.FrameError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &frame):
		errors.As(frameError("%s", frame.Text), &e)
		return e
	case errors.Is(err, wire.ErrMalformed):
		errors.As(frameError("%v", err), &e)
		return e
	}
	return nil
}
