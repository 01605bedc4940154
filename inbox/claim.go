package inbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// ClaimTx is a transaction as far as Claim needs it: *sql.Tx, *sqlx.Tx, GORM's
// tx.Statement.ConnPool inside a transaction.
type ClaimTx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// ConflictError says that an event id was applied with another payload.
type ConflictError struct {
	Consumer string
	EventID  string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("event %s was applied by %s with another payload", e.EventID, e.Consumer)
}

// Is makes errors.Is(err, ErrConflict) hold.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Claim notes in the caller's transaction that msg is applied, and reports
// whether it is fresh: true means make the effect in tx and commit, false
// means it was applied before, so change nothing and acknowledge. The id and
// the payload decide. A copy being applied by another transaction is waited
// for: bound the wait by ctx or lock_timeout.
//
// The error is a ConflictError when the id was applied with another payload,
// an InvalidMessageError on an id that cannot be stored, ErrNoTransaction on a
// handle that is no transaction, ErrSchema on a database without the tables.
// After an error roll tx back. For a handle that begins transactions of
// REPEATABLE READ or above, be ready to run the whole again (SQLSTATE 40001).
func (in *Inbox) Claim(ctx context.Context, tx ClaimTx, msg Message) (fresh bool, err error) {
	if err := sqldb.RequireTransaction(tx); err != nil {
		return false, fmt.Errorf("inbox: claim: %w", err)
	}
	if err := msg.validate(); err != nil {
		return false, fmt.Errorf("inbox: claim: %w", err)
	}
	claims, err := in.claim(ctx, tx, []Message{msg})
	if err != nil {
		return false, fmt.Errorf("inbox: claim event %s: %w", msg.ID, err)
	}
	if claims[0] == conflicting {
		return false, &ConflictError{Consumer: in.consumer, EventID: msg.ID}
	}
	return claims[0] == unseen, nil
}

// claim is what the inbox knows of a message.
type claim int

const (
	unseen      claim = iota // noted now
	duplicate                // applied before, or earlier in the same batch
	conflicting              // its id was applied with another payload
)

// errVanished: a row that stood in the way of a claim was gone when looked at,
// because a purge or a rollback came between. Claiming again settles it.
var errVanished = errors.New("the earlier claim vanished meanwhile")

type claimRow struct {
	EventID       string `json:"event_id"`
	Topic         string `json:"topic"`
	PayloadHash   string `json:"payload_hash"`
	CorrelationID string `json:"correlation_id"`
	OccurredAt    any    `json:"occurred_at"` // null: not known
}

// claim claims valid messages in one statement, and looks up in one more what
// those that were not new had been applied with.
func (in *Inbox) claim(ctx context.Context, tx ClaimTx, msgs []Message) ([]claim, error) {
	hashes := make([][sha256.Size]byte, len(msgs))
	first := make(map[string]int, len(msgs)) // by event id: the copies of one id in a batch share a row
	rows := make([]claimRow, 0, len(msgs))
	for i := range msgs {
		m := &msgs[i]
		hashes[i] = sha256.Sum256(m.Payload)
		if _, seen := first[m.ID]; seen {
			continue
		}
		first[m.ID] = i
		rows = append(rows, claimRow{
			EventID: m.ID, Topic: storable(m.Topic), PayloadHash: hex.EncodeToString(hashes[i][:]),
			CorrelationID: storable(m.CorrelationID), OccurredAt: in.dialect.Time(storableTime(m.OccurredAt)),
		})
	}
	document, err := json.Marshal(rows)
	if err != nil {
		return nil, err
	}
	claimed, err := in.claimed(ctx, tx, string(document), len(rows))
	if err != nil {
		return nil, err
	}
	stored, err := in.earlier(ctx, tx, rows, claimed)
	if err != nil {
		return nil, err
	}
	claims := make([]claim, len(msgs))
	for i := range msgs {
		id := msgs[i].ID
		_, isNew := claimed[id]
		reference := hashes[first[id]]
		if hash, before := stored[id]; before {
			reference = [sha256.Size]byte(hash)
		} else if !isNew {
			return nil, errVanished
		}
		switch {
		case hashes[i] != reference:
			claims[i] = conflicting
		case isNew && first[id] == i:
			claims[i] = unseen
		default:
			claims[i] = duplicate
		}
	}
	return claims, nil
}

// claimed inserts the rows of a JSON document and returns the ids that were new.
func (in *Inbox) claimed(ctx context.Context, tx ClaimTx, document string, size int) (map[string]struct{}, error) {
	result, err := tx.QueryContext(ctx, in.queries.Get("claim"), in.consumer, document)
	if err != nil {
		return nil, sqldb.Schema(err)
	}
	defer result.Close()
	claimed := make(map[string]struct{}, size)
	for result.Next() {
		var id string
		if err := result.Scan(&id); err != nil {
			return nil, err
		}
		claimed[id] = struct{}{}
	}
	return claimed, sqldb.Schema(result.Err())
}

// earlier returns the stored payload hashes of the rows that were not claimed.
func (in *Inbox) earlier(ctx context.Context, tx ClaimTx, rows []claimRow, claimed map[string]struct{}) (map[string][]byte, error) {
	if len(claimed) == len(rows) {
		return nil, nil
	}
	var ids []string
	for _, row := range rows {
		if _, isNew := claimed[row.EventID]; !isNew {
			ids = append(ids, row.EventID)
		}
	}
	return in.hashes(ctx, tx, ids)
}

// hashes returns what was applied under the given ids, by id.
func (in *Inbox) hashes(ctx context.Context, q interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, ids []string) (map[string][]byte, error) {
	document, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	result, err := q.QueryContext(ctx, in.queries.Get("hashes"), in.consumer, string(document))
	if err != nil {
		return nil, sqldb.Schema(err)
	}
	defer result.Close()
	hashes := make(map[string][]byte, len(ids))
	for result.Next() {
		var id string
		var hash []byte
		if err := result.Scan(&id, &hash); err != nil {
			return nil, err
		}
		if len(hash) != sha256.Size {
			return nil, fmt.Errorf("event %s: stored payload hash has %d bytes", id, len(hash))
		}
		hashes[id] = bytes.Clone(hash)
	}
	return hashes, sqldb.Schema(result.Err())
}

// storable makes a text that only informs fit for the database, which takes
// neither NUL nor what is no UTF-8.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// storableTime is t, or zero where the database has no such time.
func storableTime(t time.Time) time.Time {
	if year := t.UTC().Year(); year < 1 || year > 9999 {
		return time.Time{}
	}
	return t
}
