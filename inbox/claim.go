package inbox

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/inbox/internal/guard"
	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// ClaimTx is a transaction as far as Claim needs it: *sql.Tx, *sqlx.Tx, the Tx
// of a bun.Tx, GORM's tx.Statement.ConnPool inside a transaction.
// docs/databases.md has the handle of each library.
type ClaimTx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// ConflictError says that an event id was applied with another payload, or as
// another event.
type ConflictError struct {
	Consumer string
	EventID  string
	Field    string // what is not the same: "payload", "type" or "topic"
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("event %s was applied by %s with another %s", e.EventID, e.Consumer, e.Field)
}

// Is makes errors.Is(err, ErrConflict) hold.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Claim notes in the caller's transaction that msg is applied, and reports
// whether it is fresh: true means make the effect in tx and commit, false
// means it was applied before, so change nothing and acknowledge. Two messages
// are the same if id and payload are, and type and topic as far as both are
// known.
//
// The claim is worth something only if it is committed together with the
// effect, by the one commit of tx: do not end the transaction between the two,
// by whatever means. A handler of NewConsumerFunc that claims with the context
// it was given is checked: its nil acknowledges only what is committed. Its
// transaction may idle for HandlerTimeout and 15 s, then PostgreSQL ends it.
//
// A copy being applied by another transaction is waited for, for at most the
// statement timeout or, with the context of such a handler, about a second;
// then the error is a LockedError.
//
// The error is a ConflictError when the id was applied as something else, an
// InvalidMessageError on an id that cannot be stored, ErrNoTransaction on a
// handle that is no transaction, ErrSchema on a database without the tables.
// After an error roll tx back. For a handle that begins transactions of
// REPEATABLE READ or above, be ready to run the whole again (SQLSTATE 40001).
func (in *Inbox) Claim(ctx context.Context, tx ClaimTx, msg Message) (fresh bool, err error) {
	if t := trackerOf(ctx); t != nil {
		made := in.claimTracked(ctx, tx, msg, t)
		t.add(made)
		return made.fresh, made.err
	}
	fresh, _, err = in.claimOne(ctx, tx, msg, bounds{lock: in.longLockWait()})
	if err != nil {
		return false, in.explain(ctx, "claim ", msg, err)
	}
	return fresh, nil
}

// claimTracked is Claim for a handler of NewConsumerFunc.
func (in *Inbox) claimTracked(ctx context.Context, tx ClaimTx, msg Message, t *tracker) trackedClaim {
	made := trackedClaim{in: in, id: msg.ID}
	var receipt receipt
	made.fresh, receipt, made.err = in.claimOne(ctx, tx, msg, t.bounds(in))
	made.at, made.idles = time.Now(), receipt.idles
	if made.fresh && t.finishes(in, msg) {
		made.err = in.finish(guard.Trusted(ctx), tx, []Message{msg})
		made.finished = made.err == nil
	}
	if made.err == nil {
		return made
	}
	made.fresh = false
	if in == t.in { // the consumer finds out who holds a locked event, and not each time
		made.err = in.nameEvent("claim ", msg, locked(ctx, made.err))
	} else {
		made.err = in.explain(ctx, "claim ", msg, made.err)
	}
	return made
}

// claimOne claims a message in the caller's transaction.
func (in *Inbox) claimOne(ctx context.Context, tx ClaimTx, msg Message, b bounds) (fresh bool, r receipt, err error) {
	if err := sqldb.RequireTransaction(tx); err != nil {
		return false, r, err
	}
	if err := msg.validate(); err != nil {
		return false, r, err
	}
	made, err := in.claim(guard.Trusted(ctx), tx, []Message{msg}, b)
	if err != nil {
		return false, r, err
	}
	if field := made.conflicts[0]; field != "" {
		return false, r, in.conflict(msg, field)
	}
	return made.states[0] == unseen, made.receipt, nil
}

func (in *Inbox) conflict(msg Message, field string) error {
	return &ConflictError{Consumer: in.consumer, EventID: msg.ID, Field: field}
}

// claim is what the inbox knows of a message.
type claimState int

const (
	unseen      claimState = iota // noted now
	duplicate                     // applied before, or earlier in the same batch
	conflicting                   // its id was applied as something else
)

// bounds are what a claim waits for at most, and what it sets for the rest of
// its transaction. PostgreSQL only.
type bounds struct {
	lock time.Duration // on a copy that is being applied elsewhere
	idle time.Duration // between two statements; 0: left as it is
}

// claims are what came of claiming some messages.
type claimResult struct {
	states    []claimState
	conflicts []string // in what a conflicting message differs, by index
	fresh     []string // event ids of those that are unseen
	receipt
}

// receipt is what the database tells of transaction and session, to know them
// again by. PostgreSQL only.
type receipt struct {
	transaction string
	session     string
	idleTimeout string        // as it was before
	idles       time.Duration // how long the session may idle now; 0: without limit
	escapes     bool          // a backslash in '...' is an escape
}

// errVanished: a row that stood in the way of a claim was gone when looked at,
// because a purge or a rollback came between. Claiming again settles it.
var errVanished = errors.New("the earlier claim vanished meanwhile")

// identity is what makes two messages the same.
type identity struct {
	Topic       string `json:"topic"`
	Type        string `json:"type"`
	PayloadHash string `json:"payload_hash"`
}

// differs names the field in which a and b are not the same, or returns "".
// What is empty is not known, and compares with anything.
func (a identity) differs(b identity) string {
	switch {
	case a.PayloadHash != b.PayloadHash:
		return "payload"
	case a.Type != b.Type && a.Type != "" && b.Type != "":
		return "type"
	case a.Topic != b.Topic && a.Topic != "" && b.Topic != "":
		return "topic"
	}
	return ""
}

type claimRow struct {
	EventID string `json:"event_id"`
	identity
	CorrelationID string `json:"correlation_id"`
	OccurredAt    any    `json:"occurred_at"` // null: not known
}

func (in *Inbox) claimRow(m *Message) claimRow {
	payload := m.Payload
	if m.travelled != nil {
		payload = m.travelled
	}
	hash := sha256.Sum256(payload)
	return claimRow{
		EventID:       m.ID,
		identity:      identity{Topic: storable(m.Topic), Type: storable(m.Type), PayloadHash: hex.EncodeToString(hash[:])},
		CorrelationID: storable(m.CorrelationID), OccurredAt: in.dialect.Time(storableTime(m.OccurredAt)),
	}
}

// claim claims valid messages in one statement, and looks up in one more what
// those that were not new had been applied as.
func (in *Inbox) claim(ctx context.Context, tx ClaimTx, msgs []Message, b bounds) (*claimResult, error) {
	identities := make([]identity, len(msgs))
	first := make(map[string]int, len(msgs)) // by event id: the copies of one id in a batch share a row
	rows := make([]claimRow, 0, len(msgs))
	for i := range msgs {
		row := in.claimRow(&msgs[i])
		identities[i] = row.identity
		if _, seen := first[row.EventID]; !seen {
			first[row.EventID] = i
			rows = append(rows, row)
		}
	}
	document, err := json.Marshal(rows)
	if err != nil {
		return nil, err
	}
	made := &claimResult{states: make([]claimState, len(msgs)), conflicts: make([]string, len(msgs))}
	if made.fresh, made.receipt, err = in.insertClaims(ctx, tx, string(document), b); err != nil {
		return nil, err
	}
	isNew := make(map[string]bool, len(made.fresh))
	for _, id := range made.fresh {
		isNew[id] = true
	}
	earlier, err := in.earlier(ctx, tx, rows, isNew)
	if err != nil {
		return nil, err
	}
	for i := range msgs {
		id := msgs[i].ID
		reference := identities[first[id]]
		if stored, before := earlier[id]; before {
			reference = stored
		} else if !isNew[id] {
			return nil, errVanished
		}
		switch field := identities[i].differs(reference); {
		case field != "":
			made.states[i], made.conflicts[i] = conflicting, field
		case isNew[id] && first[id] == i:
			made.states[i] = unseen
		default:
			made.states[i] = duplicate
		}
	}
	return made, nil
}

// earlier returns what the rows that were not claimed had been applied as.
func (in *Inbox) earlier(ctx context.Context, tx querier, rows []claimRow, isNew map[string]bool) (map[string]identity, error) {
	if len(isNew) == len(rows) {
		return nil, nil
	}
	var ids []string
	for _, row := range rows {
		if !isNew[row.EventID] {
			ids = append(ids, row.EventID)
		}
	}
	return in.applied(ctx, tx, ids)
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// applied returns what was applied under the given ids, by id.
func (in *Inbox) applied(ctx context.Context, q querier, ids []string) (map[string]identity, error) {
	document, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	query, err := in.store.Query(ctx, q, "applied")
	if err != nil {
		return nil, err
	}
	result, err := q.QueryContext(ctx, query, in.consumer, string(document))
	if err != nil {
		return nil, in.store.Failed(err)
	}
	defer result.Close()
	found := make(map[string]identity, len(ids))
	for result.Next() {
		var id string
		var stored identity
		if err := result.Scan(&id, &stored.Topic, &stored.Type, &stored.PayloadHash); err != nil {
			return nil, err
		}
		stored.Topic, stored.Type = storable(stored.Topic), storable(stored.Type)
		found[id] = stored
	}
	return found, in.store.Failed(result.Err())
}

// maxText bounds, in bytes, a text that only informs or compares: what AMQP
// holds in a short string.
const maxText = 255

// storable makes such a text fit for the database, which takes neither NUL nor
// what is no UTF-8.
func storable(s string) string {
	return clip.Text(s, maxText, "")
}

// storableTime is t, or zero where the database has no such time.
func storableTime(t time.Time) time.Time {
	if year := t.UTC().Year(); year < 1 || year > 9999 {
		return time.Time{}
	}
	return t
}
