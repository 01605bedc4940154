package outbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/outbox/wire"
)

// Limits of a message, checked by Enqueue while the caller can still roll back.
const (
	// DefaultMaxPayload is the largest payload in bytes unless WithMaxPayload says otherwise.
	DefaultMaxPayload = 1 << 20
	// MaxHeaders is how many headers a producer may add.
	MaxHeaders = 64
	// MaxHeaderBytes bounds names and values of all headers together: they share one AMQP frame.
	MaxHeaderBytes = 16 << 10
	// MaxKey is the longest ordering key in bytes.
	MaxKey = 255

	maxShortString = 255 // what AMQP holds in a short string
)

// Message is an event for other services.
type Message struct {
	// ID is the event id, the same in every copy. NewMessage sets a UUIDv7. If it is
	// zero, Enqueue stores a new one, which the caller does not learn.
	ID uuid.UUID
	// Topic is the routing key, such as "order.created". Required.
	Topic string
	// Type names the event, such as "OrderCreated". Defaults to Topic.
	Type string
	// Version of the contract that Payload satisfies. Defaults to the newest where
	// WithContracts is set and has one, else to none, which consumers take for 1.
	Version int
	// Key is the ordering key: messages of one key are published in the order in
	// which they were enqueued. Empty means no order.
	Key string
	// Payload is stored and sent unchanged. It may be empty; nil counts as empty.
	Payload []byte
	// ContentType of the payload. Defaults to application/json.
	ContentType string
	// Headers are sent with the message. Names of the wire contract (pulse-*,
	// x-correlation-id, x-death and the like) are refused.
	Headers map[string]string
	// CorrelationID identifies the business action. Defaults to that of ctx (see
	// WithCorrelationID), else to a new one. An invalid one (see ValidCorrelationID)
	// is replaced and logged, as it often comes from a client and must not make the
	// transaction fail.
	CorrelationID string
	// CausationID is the id of the message that caused this one. Defaults to that of
	// ctx: in an inbox handler, the id of the message being handled. An invalid one
	// is omitted and logged.
	CausationID string
	// OccurredAt is when the change happened. Defaults to the time of the database.
	OccurredAt time.Time
	// AvailableAt delays publishing until then, by the database's clock. The
	// zero time means at once.
	AvailableAt time.Time
	// Seq is the position in the outbox, assigned by the database. Enqueue ignores it.
	Seq int64
	// Signature and Encryption are what WithSealer has made; Enqueue ignores them.
	Signature, Encryption string
}

// NewMessage returns a message for topic with a new id, which the payload may
// contain.
func NewMessage(topic string, payload []byte) Message {
	return Message{ID: uuid.Must(uuid.NewV7()), Topic: topic, Payload: payload}
}

// InvalidMessageError lists everything that is wrong with a message.
type InvalidMessageError struct {
	Index    int      // its place among the arguments of Enqueue
	ID       string   // its event id
	Problems []string // each begins with the name of a field
}

func (e *InvalidMessageError) Error() string {
	return fmt.Sprintf("invalid message %d (%s): %s", e.Index, e.ID, strings.Join(e.Problems, "; "))
}

// Is reports whether target is ErrInvalidMessage.
func (e *InvalidMessageError) Is(target error) bool { return target == ErrInvalidMessage }

// ErrInvalidMessage matches every InvalidMessageError.
var ErrInvalidMessage = errors.New("invalid message")

// problems returns what is wrong with m once defaults are filled in.
func (m *Message) problems(maxPayload int) (problems []string) {
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	short := func(field, value string, limit int) {
		switch {
		case len(value) > limit:
			add("%s: %d bytes, at most %d are allowed", field, len(value), limit)
		case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
			add("%s: must be UTF-8 text without NUL", field)
		}
	}
	if m.Topic == "" {
		add("Topic: is empty; set the routing key, such as order.created")
	}
	short("Topic", m.Topic, maxShortString)
	if m.Type != m.Topic { // its default, complained of already
		short("Type", m.Type, maxShortString)
	}
	short("Key", m.Key, MaxKey)
	short("ContentType", m.ContentType, maxShortString)
	if m.Version < 0 || m.Version > wire.MaxVersion {
		add("Version: %d; must be 1 to %d, or 0 for the newest", m.Version, wire.MaxVersion)
	}
	for _, at := range []struct {
		field string
		value time.Time
	}{{"OccurredAt", m.OccurredAt}, {"AvailableAt", m.AvailableAt}} {
		if year := at.value.UTC().Year(); year < 1 || year > 9999 {
			add("%s: year %d; must be 1 to 9999", at.field, year)
		}
	}
	if len(m.Payload) > maxPayload {
		add("Payload: %d bytes, at most %d are allowed; see WithMaxPayload", len(m.Payload), maxPayload)
	}
	return append(problems, headerProblems(m.Headers)...)
}

func headerProblems(headers map[string]string) (problems []string) {
	if len(headers) > MaxHeaders {
		problems = append(problems, fmt.Sprintf("Headers: %d headers, at most %d are allowed", len(headers), MaxHeaders))
	}
	size := 0
	for name, value := range headers {
		size += len(name) + len(value)
		switch {
		case name == "":
			problems = append(problems, "Headers: a name is empty")
		case wire.ReservedHeader(name):
			problems = append(problems, fmt.Sprintf("Headers: %q is reserved", name))
		case len(name) > maxShortString:
			problems = append(problems, fmt.Sprintf("Headers: name %.20q… has %d bytes, at most %d are allowed", name, len(name), maxShortString))
		case !utf8.ValidString(name) || !utf8.ValidString(value) || strings.ContainsRune(name+value, 0):
			problems = append(problems, fmt.Sprintf("Headers: %q must be UTF-8 text without NUL", name))
		}
	}
	if size > MaxHeaderBytes {
		problems = append(problems, fmt.Sprintf("Headers: %d bytes together, at most %d are allowed", size, MaxHeaderBytes))
	}
	slices.Sort(problems)
	return problems
}

// Wire returns m as it travels, for those who write a Publisher: see package
// wire. producer is the name of the application that publishes it, and may be
// empty. Headers and payload are shared with m.
func (m Message) Wire(producer string) wire.Message {
	return wire.Message{
		ID: m.ID.String(), Topic: m.Topic, Type: m.Type, Version: m.Version, Key: m.Key, Seq: m.Seq,
		Payload: m.Payload, ContentType: m.ContentType, Headers: m.Headers,
		CorrelationID: m.CorrelationID, CausationID: m.CausationID, Producer: producer, OccurredAt: m.OccurredAt,
		Signature: m.Signature, Encryption: m.Encryption,
	}
}
