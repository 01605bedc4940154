package outbox

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// Record is a row of the outbox: a message and its state.
type Record struct {
	Message
	Status      Status
	Attempts    int       // how often the broker refused it; outages do not count
	CreatedAt   time.Time // when it was enqueued, by the database's clock
	PublishedAt time.Time // zero unless published
	DiscardedAt time.Time // zero unless discarded
	FailedAt    time.Time // when the last attempt failed, or it became dead; zero: it has not, or a former version stored that
	LastError   string    // of the last failed attempt, or the reason of Discard
	Bucket      int       // the bucket of its key
	// BlockedBy is the id of the failed message of the same key that has to be
	// published or discarded before this one; zero if there is none.
	BlockedBy uuid.UUID
}

// Retrying reports whether the message has failed and will be retried.
func (r Record) Retrying() bool { return r.Status == Pending && r.Attempts > 0 }

// row is a Record as the queries of this package select it.
type row struct {
	Seq           int64         `db:"seq"`
	ID            uuid.UUID     `db:"id"`
	Topic         string        `db:"topic"`
	Type          string        `db:"type"`
	Key           string        `db:"key"`
	Payload       []byte        `db:"payload"`
	ContentType   string        `db:"content_type"`
	Headers       string        `db:"headers"`
	CorrelationID string        `db:"correlation_id"`
	CausationID   string        `db:"causation_id"`
	Bucket        int           `db:"bucket"`
	Status        Status        `db:"status"`
	Attempts      int           `db:"attempts"`
	OccurredAt    sqldb.Instant `db:"occurred_at"`
	CreatedAt     sqldb.Instant `db:"created_at"`
	AvailableAt   sqldb.Instant `db:"available_at"`
	PublishedAt   sqldb.Instant `db:"published_at"`
	DiscardedAt   sqldb.Instant `db:"discarded_at"`
	LastError     string        `db:"last_error"`
	FailedAt      sqldb.Instant `db:"failed_at"`
	BlockedBy     uuid.NullUUID `db:"blocked_by"`
	Matching      int           `db:"matching"` // how many rows the page found, with those that did not fit
}

func (r row) record() (Record, error) {
	headers, err := parseHeaders(r.Headers)
	if err != nil {
		return Record{}, fmt.Errorf("message %s: headers: %w", r.ID, err)
	}
	return Record{
		Message: Message{
			ID: r.ID, Topic: r.Topic, Type: r.Type, Version: takeVersion(headers), Key: r.Key, Payload: r.Payload, ContentType: r.ContentType,
			Headers: headers, CorrelationID: r.CorrelationID, CausationID: r.CausationID,
			OccurredAt: r.OccurredAt.Time, AvailableAt: r.AvailableAt.Time, Seq: r.Seq,
			Signature: takeHeader(headers, wire.HeaderSignature), Encryption: takeHeader(headers, wire.HeaderEncryption),
		},
		Status: r.Status, Attempts: r.Attempts, LastError: r.LastError, Bucket: r.Bucket, BlockedBy: r.BlockedBy.UUID,
		CreatedAt: r.CreatedAt.Time, PublishedAt: r.PublishedAt.Time, DiscardedAt: r.DiscardedAt.Time, FailedAt: r.FailedAt.Time,
	}, nil
}

// parseHeaders reads the column headers; nil where there are none. Values
// that a producer in plain SQL wrote as numbers or the like become their JSON text.
func parseHeaders(text string) (map[string]string, error) {
	if text == "{}" {
		return nil, nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, err
	}
	headers := make(map[string]string, len(raw))
	for name, value := range raw {
		var s string
		if json.Unmarshal(value, &s) != nil {
			s = string(value)
		}
		headers[name] = s
	}
	return headers, nil
}
