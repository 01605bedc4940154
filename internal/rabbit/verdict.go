package rabbit

import (
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// The verdicts on a publishing, besides nil: taken charge of by the broker
// and routed to a queue.
var (
	// ErrNacked: the broker refused the message, as a full queue does.
	ErrNacked = errors.New("nacked")
	// ErrUnknown is matched by every UnknownError.
	ErrUnknown = errors.New("no verdict")
)

// ReturnedError says that the broker found no queue for the message and sent it back.
type ReturnedError struct {
	Code          int    // such as 312
	Text          string // the broker's, such as NO_ROUTE
	Exchange, Key string
}

func (e *ReturnedError) Error() string {
	return fmt.Sprintf("returned by exchange %q for routing key %q: %d %s", e.Exchange, e.Key, e.Code, e.Text)
}

// UncodableError says that the message cannot be put into AMQP frames. It was not sent,
// and its neighbours did not suffer.
type UncodableError struct{ Problem string }

func (e *UncodableError) Error() string { return "cannot be encoded: " + e.Problem }

// UnknownError says that the channel ended, or the wait, before the broker answered.
// The broker may have the message or not.
type UnknownError struct {
	Sent  bool  // false: it was not even written
	Cause error // of the end
	late  *late // nil: no answer can come any more
}

// late is an answer that is not waited for any more.
type late struct {
	confirmer *Confirmer
	flight    flight
	verdict   error // once known
	known     bool
}

// Late returns the verdict where the broker has given it after all. Where it
// has not, and may still, wait is closed when there is more to know; it is nil
// where no verdict can come any more. Those of one Confirmer may be asked by one
// goroutine at a time.
func (e *UnknownError) Late() (wait <-chan struct{}, known bool, verdict error) {
	if e.late == nil {
		return nil, false, nil
	}
	l := e.late
	if l.known {
		return nil, true, l.verdict
	}
	select {
	case <-l.flight.confirm.Done():
		l.verdict, l.known = l.confirmer.verdict(l.flight)
		return nil, l.known, l.verdict
	default:
		return l.flight.confirm.Done(), false, nil
	}
}

func (e *UnknownError) Error() string {
	if !e.Sent {
		return fmt.Sprintf("not sent: %v", e.Cause)
	}
	return fmt.Sprintf("no verdict: %v", e.Cause)
}
func (e *UnknownError) Unwrap() error { return e.Cause }

// Is makes errors.Is(err, ErrUnknown) hold.
func (e *UnknownError) Is(target error) bool { return target == ErrUnknown }

// Blame says whom the broker's closing of a channel or connection is laid to.
type Blame int

const (
	// BlameNobody: it went away, or was told to. Every message may be sent again.
	BlameNobody Blame = iota
	// BlameMessage: one of the messages in flight cannot be taken, now or later.
	BlameMessage
	// BlameAccess: one of the messages in flight may not be published with its
	// routing key by this user.
	BlameAccess
	// BlameBroker: handling one of the messages in flight failed within the broker.
	BlameBroker
)

// Blamed reads err, the cause of an UnknownError. Only what the broker itself
// said counts: the library uses the same codes for a connection that broke.
func Blamed(err error) Blame {
	var reply *amqp.Error
	if !errors.As(err, &reply) || !reply.Server {
		return BlameNobody
	}
	switch reply.Code {
	case amqp.PreconditionFailed, // above max_message_size, unacceptable header or property
		amqp.ContentTooLarge,
		amqp.FrameError, // content header above frame_max
		amqp.SyntaxError:
		return BlameMessage
	case amqp.AccessRefused:
		// Without permission on the exchange nothing can be published; a topic
		// permission concerns one routing key.
		if strings.Contains(reply.Reason, "access to topic") {
			return BlameAccess
		}
	case amqp.InternalError, amqp.NotImplemented:
		return BlameBroker
	}
	return BlameNobody
}

// ExchangeMissing reports whether err, the cause of an UnknownError, is that
// the exchange published to does not exist.
func ExchangeMissing(err error) bool {
	var reply *amqp.Error
	return errors.As(err, &reply) && reply.Server && reply.Code == amqp.NotFound
}
