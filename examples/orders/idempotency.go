package orders

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// HeaderIdempotencyKey is the request header by which a client makes it safe
// to ask again: with the same key it gets the answer to its first request, and
// there is one order and one event. The header is that of
// draft-ietf-httpapi-idempotency-key-header; its value is taken as it stands.
const HeaderIdempotencyKey = "Idempotency-Key"

// HeaderReplayed marks an answer that was given before, as "true". The header
// x-correlation-id beside it is of this request, the one in the body of the first.
const HeaderReplayed = "Idempotency-Replayed"

// MaxIdempotencyKey is the longest key in bytes.
const MaxIdempotencyKey = 255

// ErrKeyReused says that the key came with another order before.
var ErrKeyReused = errors.New("the Idempotency-Key belongs to another order; use a new key for a new order")

// ParseIdempotencyKey reads the values of the header. No value gives the empty
// key, which means that the client asks for no protection.
func ParseIdempotencyKey(values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", fmt.Errorf("is given %d times", len(values))
	}
	key := values[0]
	if key == "" || len(key) > MaxIdempotencyKey || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("must be 1 to %d visible ASCII characters", MaxIdempotencyKey)
	}
	return key, nil
}

// Receipt is the answer to an order: the three ids by which to follow it.
type Receipt struct {
	OrderID       uuid.UUID `json:"orderId" db:"order_id"`
	EventID       uuid.UUID `json:"eventId" db:"event_id"`
	CorrelationID string    `json:"correlationId" db:"correlation_id"`
}

// Receipt returns the answer to the order.
func (o Order) Receipt() Receipt { return Receipt{o.ID, o.EventID, o.CorrelationID} }

// Answered is a row of idempotency_keys: what was asked under a key, and the
// answer. It is written in the transaction of the order, so that it stands
// exactly if the order does, and is inserted first: a second request under the
// same key waits there for the first one's end.
type Answered struct {
	Key         string `db:"key"`
	Fingerprint []byte `db:"fingerprint"`
	Receipt
}

// Under returns the row that keeps the order's answer under a key.
func (o Order) Under(key string) Answered {
	return Answered{Key: key, Fingerprint: Draft{CustomerID: o.CustomerID, Amount: o.Amount}.Fingerprint(), Receipt: o.Receipt()}
}

// Again returns the answer to draft, which came under the same key, or
// ErrKeyReused where it asks for something else.
func (a Answered) Again(draft Draft) (Receipt, error) {
	if !bytes.Equal(a.Fingerprint, draft.Fingerprint()) {
		return Receipt{}, ErrKeyReused
	}
	return a.Receipt, nil
}

// Fingerprint tells drafts apart: a SHA-256 of what is asked for, whatever
// the spacing, the order of fields and the spelling of numbers in its JSON.
func (d Draft) Fingerprint() []byte {
	text := binary.BigEndian.AppendUint64(nil, uint64(d.Amount))
	sum := sha256.Sum256(append(text, d.CustomerID...))
	return sum[:]
}
