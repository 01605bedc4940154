package outbox

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/correlation"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// Tx is the transaction of the change that the messages announce: a *sql.Tx, a
// *sqlx.Tx, the Tx of a bun.Tx, the ConnPool of a GORM transaction, or anything
// else that runs statements in one open transaction. docs/databases.md has the
// handle of each library.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Errors of Enqueue, in addition to ErrInvalidMessage and ErrSchema.
var (
	// ErrNoTransaction: tx is not a transaction, so the message would be stored even
	// if the change is not.
	ErrNoTransaction = sqldb.ErrNoTransaction
	// ErrDuplicateID: a message with that id is already in the outbox.
	ErrDuplicateID = errors.New("message id is in the outbox already")
)

const (
	// maxInsertBytes bounds what one INSERT carries: it is held in memory on both
	// sides.
	maxInsertBytes = 16 << 20
	// rowBytes is what a message takes beside its payload and headers.
	rowBytes = 512
	// maxInsertRows: SQLite allows 32,766 parameters in a statement.
	maxInsertRows = 2500
)

// Enqueue inserts msgs in tx, in order and, up to 16 MB, in one round trip. They are
// published if and only if tx commits. Empty fields are set to the defaults that
// Message documents; msgs itself is not changed. If ctx has no correlation id, all
// messages of a call share a new one.
//
// A trace context is added to the headers of messages that have none: that of the
// span "create" that Enqueue makes for them (see WithCreateSpans), and that of ctx
// where it makes none.
//
// All messages are validated before any is inserted. If some are invalid, the error
// joins an InvalidMessageError for each of them and matches ErrInvalidMessage, and
// tx can still be used. ErrNoTransaction is returned for nil and for handles that
// can begin a transaction themselves, such as *sql.DB, *sqlx.DB and *sql.Conn.
// ErrDuplicateID and ErrSchema are errors of the database; on PostgreSQL tx can
// only be rolled back after them.
//
// Enqueue is safe for concurrent use if tx is.
func (o *Outbox) Enqueue(ctx context.Context, tx Tx, msgs ...Message) error {
	if err := sqldb.RequireTransaction(tx); err != nil {
		return fmt.Errorf("outbox: enqueue: %w", err)
	}
	complete, err := o.complete(ctx, msgs)
	if err != nil {
		return fmt.Errorf("outbox: enqueue: %w", err)
	}
	spans := o.startCreate(ctx, complete)
	err = o.insertAll(ctx, tx, complete)
	spans.end(err)
	if err != nil {
		return fmt.Errorf("outbox: enqueue: %w", err)
	}
	return nil
}

// complete returns copies of msgs with defaults filled in, or everything that
// is wrong with them.
func (o *Outbox) complete(ctx context.Context, msgs []Message) ([]Message, error) {
	correlationID := o.usable(ctx, "correlation id", CorrelationID(ctx), correlation.NewID())
	causationID := o.usable(ctx, "causation id", CausationID(ctx), "")

	var errs []error
	complete := make([]Message, len(msgs))
	seen := make(map[uuid.UUID]int, len(msgs))
	for i, m := range msgs {
		if m.ID == uuid.Nil {
			m.ID = uuid.Must(uuid.NewV7())
		}
		setDefault(&m.Type, m.Topic)
		setDefault(&m.ContentType, wire.DefaultContentType)
		m.CorrelationID = o.usable(ctx, "correlation id", m.CorrelationID, correlationID)
		m.CausationID = o.usable(ctx, "causation id", m.CausationID, causationID)
		problems := m.problems(o.maxPayload)
		if len(problems) == 0 {
			if err := o.satisfy(&m); err != nil {
				problems = append(problems, "Payload: "+err.Error())
			}
		}
		if earlier, dup := seen[m.ID]; dup {
			problems = append(problems, fmt.Sprintf("ID: is also that of message %d", earlier))
		}
		seen[m.ID] = i
		if len(problems) > 0 {
			errs = append(errs, &InvalidMessageError{Index: i, ID: m.ID.String(), Problems: problems})
		} else if err := o.seal(&m); err != nil {
			errs = append(errs, err)
		}
		complete[i] = m
	}
	return complete, errors.Join(errs...)
}

// usable returns id, or instead where there is none or it cannot travel.
func (o *Outbox) usable(ctx context.Context, name, id, instead string) string {
	switch {
	case id == "":
		return instead
	case correlation.Valid(id):
		return id
	}
	log := cmp.Or(o.log, slog.Default())
	log.WarnContext(ctx, name+" cannot travel and is replaced; check it with ValidCorrelationID where it comes in",
		"given", fmt.Sprintf("%.100q", id), "bytes", len(id), "instead", instead)
	return instead
}

func setDefault(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// insertSize returns how many of msgs, at least one, go into the next INSERT.
func insertSize(msgs []Message) int {
	size := 0
	for i, m := range msgs {
		size += rowBytes + len(m.Payload)
		for name, value := range m.Headers {
			size += len(name) + len(value)
		}
		if i > 0 && size > maxInsertBytes || i == maxInsertRows {
			return i
		}
	}
	return len(msgs)
}

// insertAll stores msgs in as few statements as their size allows.
func (o *Outbox) insertAll(ctx context.Context, tx Tx, msgs []Message) error {
	for len(msgs) > 0 {
		n := insertSize(msgs)
		if err := o.insert(ctx, tx, msgs[:n]); err != nil {
			return err
		}
		msgs = msgs[n:]
	}
	return nil
}

// insert stores msgs in one statement.
func (o *Outbox) insert(ctx context.Context, tx Tx, msgs []Message) error {
	insertion := o.insertion
	switch {
	case o.dialect == sqldb.SQLite:
		insertion = o.repeated
	case len(msgs) > 1:
		insertion = o.document
	}
	query, args, err := insertion(ctx, tx, msgs)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, query, args...)
	if sqldb.UniqueViolation(err, "outbox_messages_id_key", "outbox_messages.id") {
		return fmt.Errorf("%w: %w", ErrDuplicateID, err)
	}
	return o.store.Failed(err)
}

// insertion returns the statement that stores one message.
func (o *Outbox) insertion(ctx context.Context, tx Tx, msgs []Message) (query string, args []any, err error) {
	m := msgs[0]
	headers, err := headersText(m.storedHeaders())
	if err != nil {
		return "", nil, err
	}
	query, err = o.store.Query(ctx, tx, "enqueue")
	return query, []any{
		m.ID.String(), m.Topic, m.Type, m.Key, payloadBytes(m.Payload), m.ContentType, headers,
		m.CorrelationID, m.CausationID, o.dialect.Time(m.OccurredAt), o.dialect.Time(m.AvailableAt),
	}, err
}

// repeated returns the statement that stores msgs in SQLite: a row of
// parameters for each, as nobody keeps its text, and the bucket, as SQLite cannot
// compute it.
func (o *Outbox) repeated(ctx context.Context, tx Tx, msgs []Message) (query string, args []any, err error) {
	for i := range msgs {
		one, row, err := o.insertion(ctx, tx, msgs[i:])
		if err != nil {
			return "", nil, err
		}
		query, args = one, append(append(args, row...), bucketOf(msgs[i].Key, msgs[i].ID))
	}
	_, row, _ := strings.Cut(query, "VALUES")
	return query + strings.Repeat(", "+row, len(msgs)-1), args, nil
}

// insertRow is a message in the document of enqueue_many.sql. Its payload is
// a part of the bytes that come beside it.
type insertRow struct {
	ID            string            `json:"id"`
	Topic         string            `json:"topic"`
	Type          string            `json:"type"`
	Key           string            `json:"key"`
	From          int               `json:"from"` // counts from 1
	Size          int               `json:"size"`
	ContentType   string            `json:"content_type"`
	Headers       map[string]string `json:"headers"`
	CorrelationID string            `json:"correlation_id"`
	CausationID   string            `json:"causation_id"`
	OccurredAt    *string           `json:"occurred_at"`
	AvailableAt   *string           `json:"available_at"`
}

// document returns the statement that stores msgs in PostgreSQL: one text for
// any number, as drivers and servers keep each text they see.
func (o *Outbox) document(ctx context.Context, tx Tx, msgs []Message) (query string, args []any, err error) {
	payloads := []byte{}
	rows := make([]insertRow, len(msgs))
	for i, m := range msgs {
		rows[i] = insertRow{
			ID: m.ID.String(), Topic: m.Topic, Type: m.Type, Key: m.Key, From: len(payloads) + 1, Size: len(m.Payload),
			ContentType: m.ContentType, Headers: m.storedHeaders(), CorrelationID: m.CorrelationID, CausationID: m.CausationID,
			OccurredAt: o.dialect.TimeText(m.OccurredAt), AvailableAt: o.dialect.TimeText(m.AvailableAt),
		}
		if rows[i].Headers == nil {
			rows[i].Headers = map[string]string{}
		}
		payloads = append(payloads, m.Payload...)
	}
	text, err := json.Marshal(rows)
	if err != nil {
		return "", nil, err
	}
	query, err = o.store.Query(ctx, tx, "enqueue_many")
	return query, []any{string(text), payloads}, err
}

func headersText(headers map[string]string) (string, error) {
	if len(headers) == 0 {
		return "{}", nil
	}
	text, err := json.Marshal(headers)
	return string(text), err
}

// payloadBytes keeps a nil payload from becoming NULL.
func payloadBytes(p []byte) []byte {
	if p == nil {
		return []byte{}
	}
	return p
}
