package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/correlation"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/wire"
)

// Tx is the transaction of the change that messages tell of: a *sql.Tx, a
// *sqlx.Tx, the ConnPool of a GORM transaction, or whatever else runs
// statements inside one open transaction.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Errors of Enqueue, beside ErrInvalidMessage and ErrSchema.
var (
	// ErrNoTransaction: the handle given is no transaction, so that the
	// message would be stored even if the change it tells of is not.
	ErrNoTransaction = sqldb.ErrNoTransaction
	// ErrDuplicateID: the outbox holds a message of that id already.
	ErrDuplicateID = errors.New("message id is in the outbox already")
)

// What one INSERT carries at most. SQLite allows 32,766 parameters in a
// statement, PostgreSQL 65,535 and a gigabyte; the limits are far above what is
// usual.
const (
	maxInsertRows  = 2500
	maxInsertBytes = 64 << 20
)

// Enqueue stores msgs in tx, in their order and in one round trip: they are
// published if and only if tx commits. Fields left empty are filled in as
// Message says; the caller's messages are not changed. Without a correlation
// id in ctx all messages of one call share a new one. The trace context of
// ctx goes into the headers unless they carry one.
//
// All messages are checked before any is written. The error then holds one
// InvalidMessageError for each bad message and matches ErrInvalidMessage;
// tx is untouched. ErrNoTransaction refuses nil and every handle that can
// itself begin a transaction, such as *sql.DB, *sqlx.DB and *sql.Conn.
// ErrDuplicateID and ErrSchema come from the database, which on PostgreSQL
// leaves tx fit for nothing but a rollback.
//
// Enqueue is safe for concurrent use as far as tx is.
func (o *Outbox) Enqueue(ctx context.Context, tx Tx, msgs ...Message) error {
	if err := sqldb.RequireTransaction(tx); err != nil {
		return fmt.Errorf("outbox: enqueue: %w", err)
	}
	complete, err := o.complete(ctx, msgs)
	if err != nil {
		return fmt.Errorf("outbox: enqueue: %w", err)
	}
	for len(complete) > 0 {
		n := insertSize(complete)
		if err := o.insert(ctx, tx, complete[:n]); err != nil {
			return fmt.Errorf("outbox: enqueue: %w", err)
		}
		complete = complete[n:]
	}
	return nil
}

// complete returns copies of msgs with defaults filled in, or everything that
// is wrong with them.
func (o *Outbox) complete(ctx context.Context, msgs []Message) ([]Message, error) {
	correlationID, causationID := CorrelationID(ctx), CausationID(ctx)
	if correlationID == "" {
		correlationID = correlation.NewID()
	}
	traceHeaders := make(map[string]string, 2)
	correlation.InjectTrace(ctx, traceHeaders)

	var errs []error
	complete := make([]Message, len(msgs))
	seen := make(map[uuid.UUID]int, len(msgs))
	for i, m := range msgs {
		if m.ID == uuid.Nil {
			m.ID = uuid.Must(uuid.NewV7())
		}
		setDefault(&m.Type, m.Topic)
		setDefault(&m.ContentType, wire.DefaultContentType)
		setDefault(&m.CorrelationID, correlationID)
		setDefault(&m.CausationID, causationID)
		problems := m.problems(o.maxPayload)
		if earlier, dup := seen[m.ID]; dup {
			problems = append(problems, fmt.Sprintf("ID: is also that of message %d", earlier))
		}
		seen[m.ID] = i
		if len(problems) > 0 {
			errs = append(errs, &InvalidMessageError{Index: i, ID: m.ID.String(), Problems: problems})
		}
		m.Headers = withTrace(m.Headers, traceHeaders)
		complete[i] = m
	}
	return complete, errors.Join(errs...)
}

func setDefault(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// withTrace adds the trace context to a copy of headers. One that the
// producer has set stays whole: half of it belongs to no span.
func withTrace(headers, trace map[string]string) map[string]string {
	if _, set := headers[wire.HeaderTraceParent]; set || len(trace) == 0 {
		return headers
	}
	merged := maps.Clone(trace)
	maps.Copy(merged, headers)
	return merged
}

// insertSize returns how many of msgs, at least one, go into the next INSERT.
func insertSize(msgs []Message) int {
	size := 0
	for i, m := range msgs {
		size += len(m.Payload)
		if i == maxInsertRows || i > 0 && size > maxInsertBytes {
			return i
		}
	}
	return len(msgs)
}

func (o *Outbox) insert(ctx context.Context, tx Tx, msgs []Message) error {
	const columns = 12
	args := make([]any, 0, len(msgs)*columns)
	for _, m := range msgs {
		headers, err := headersText(m.Headers)
		if err != nil {
			return err
		}
		args = append(args, m.ID.String(), m.Topic, m.Type, m.Key, payloadBytes(m.Payload), m.ContentType,
			headers, m.CorrelationID, m.CausationID, o.dialect.Time(m.OccurredAt), o.dialect.Time(m.AvailableAt))
		args = append(args, o.bucketArgs(m)...)
	}
	_, err := tx.ExecContext(ctx, o.insertQuery(len(msgs)), args...)
	if sqldb.UniqueViolation(err, "outbox_messages_id_key", "outbox_messages.id") {
		return fmt.Errorf("%w: %w", ErrDuplicateID, err)
	}
	return sqldb.Schema(err)
}

// insertQuery repeats the one row of enqueue.sql.
func (o *Outbox) insertQuery(rows int) string {
	head, row, _ := strings.Cut(o.queries.Get("enqueue"), "VALUES")
	row = strings.TrimSpace(row)
	return o.dialect.Rebind(head + "VALUES " + row + strings.Repeat(", "+row, rows-1))
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
