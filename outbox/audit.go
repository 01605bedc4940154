package outbox

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Actions of entries that this package writes. Programs may record others.
const (
	ActionRetry   = "retry"
	ActionDiscard = "discard"
	ActionReplay  = "replay"
	ActionPurge   = "purge"
	ActionPause   = "pause"
	ActionResume  = "resume"
)

// MaxAuditIDs is how many ids of messages an AuditEntry keeps.
const MaxAuditIDs = 100

// AuditEntry is one intervention by hand, as kept in the table outbox_audit.
type AuditEntry struct {
	ID     int64
	At     time.Time // by the database's clock
	Actor  string    // who: a person or a program
	Action string    // what was done, such as ActionRetry
	Reason string    // why; may be empty
	// Filter is how the messages were chosen, as names and values; nil: by id.
	Filter map[string]string
	Count  int64    // how many messages were changed
	IDs    []string // the first MaxAuditIDs of them; none where only a number is known
}

// AuditQuery selects entries; the zero value selects the newest DefaultLimit. An
// entry must match all filters.
type AuditQuery struct {
	Actor     string    // exactly this
	Action    string    // exactly this
	MessageID string    // among IDs, which are not all that were changed
	Since     time.Time // at or after
	Until     time.Time // before
	After     int64     // AuditPage.Next of the page before; 0 starts
	Limit     int       // of a page, at most MaxLimit. Defaults to DefaultLimit.
}

// AuditPage is one page of entries, the newest first.
type AuditPage struct {
	Entries []AuditEntry
	Next    int64 // AuditQuery.After of the next page; 0 if there is none
}

// Audit returns one page of what was done by hand. The error names what is invalid in
// q, or is ErrSchema.
func (o *Outbox) Audit(ctx context.Context, q AuditQuery) (page AuditPage, err error) {
	if q.Limit < 0 || q.Limit > MaxLimit {
		return AuditPage{}, fmt.Errorf("outbox: audit: Limit: %d; must be 0 to %d", q.Limit, MaxLimit)
	}
	limit := cmp.Or(q.Limit, DefaultLimit)
	var rows []auditRow
	err = o.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Select(ctx, &rows, "audit_list", q.Actor, q.Action, q.MessageID, o.dialect.Time(q.Since), o.dialect.Time(q.Until),
			cmp.Or(q.After, math.MaxInt64), limit+1)
	})
	if err != nil {
		return AuditPage{}, fmt.Errorf("outbox: audit: %w", sqldb.Explain(err))
	}
	if len(rows) > limit {
		rows = rows[:limit]
		page.Next = rows[limit-1].ID
	}
	for _, row := range rows {
		entry, err := row.entry()
		if err != nil {
			return AuditPage{}, fmt.Errorf("outbox: audit: %w", err)
		}
		page.Entries = append(page.Entries, entry)
	}
	return page, nil
}

type auditRow struct {
	ID     int64         `db:"id"`
	At     sqldb.Instant `db:"at"`
	Actor  string        `db:"actor"`
	Action string        `db:"action"`
	Reason string        `db:"reason"`
	Filter string        `db:"filter"`
	Count  int64         `db:"count"`
	IDs    string        `db:"ids"`
}

func (r auditRow) entry() (AuditEntry, error) {
	e := AuditEntry{ID: r.ID, At: r.At.Time, Actor: r.Actor, Action: r.Action, Reason: r.Reason, Count: r.Count}
	if err := json.Unmarshal([]byte(r.Filter), &e.Filter); err != nil {
		return e, fmt.Errorf("entry %d: filter: %w", r.ID, err)
	}
	if len(e.Filter) == 0 {
		e.Filter = nil
	}
	if err := json.Unmarshal([]byte(r.IDs), &e.IDs); err != nil {
		return e, fmt.Errorf("entry %d: ids: %w", r.ID, err)
	}
	return e, nil
}

// Recorded is an entry that grows while an intervention goes on. It must not be used
// by several goroutines at the same time.
type Recorded struct {
	by     Operator
	action string
	filter map[string]string

	id  int64 // 0: nothing is written yet
	ids []string
}

// Record writes an entry about something that happens outside of the outbox's
// database, such as copies handed to a broker. Call it before: what is not recorded
// must not happen. Then Recorded.Add says how much was done. The filter is how messages
// were chosen, or else describes what is done; it may be nil.
func (p Operator) Record(ctx context.Context, action string, filter map[string]string) (*Recorded, error) {
	r := p.entry(action, filter)
	err := p.check(action)
	if err == nil && strings.TrimSpace(action) == "" {
		err = fmt.Errorf("action: is empty")
	}
	if err == nil {
		err = p.outbox.store.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return r.add(ctx, tx, 0, nil) })
	}
	if err != nil {
		return nil, fmt.Errorf("outbox: record: %w", sqldb.Explain(err))
	}
	return r, nil
}

// Add adds messages by their ids to the count of an entry.
func (r *Recorded) Add(ctx context.Context, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	err := r.by.outbox.store.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return r.add(ctx, tx, int64(len(ids)), ids)
	})
	if err != nil {
		return fmt.Errorf("outbox: record: %w", sqldb.Explain(err))
	}
	return nil
}

// entry returns an entry that is not written yet.
func (p Operator) entry(action string, filter map[string]string) *Recorded {
	return &Recorded{by: p, action: action, filter: filter}
}

// add counts n more messages in tx, which commits them together with what was done to
// them. If it does not commit, the entry must not be used any more.
func (r *Recorded) add(ctx context.Context, tx *sqldb.Tx, n int64, ids []string) error {
	kept := append(r.ids[:len(r.ids):len(r.ids)], ids[:min(len(ids), MaxAuditIDs-len(r.ids))]...)
	if r.id != 0 {
		if _, err := tx.Exec(ctx, "audit_more", r.id, n, jsonText(kept)); err != nil {
			return err
		}
		r.ids = kept
		return nil
	}
	filter := "{}"
	if len(r.filter) > 0 {
		text, err := json.Marshal(r.filter)
		if err != nil {
			return err
		}
		filter = string(text)
	}
	r.ids = kept
	return tx.Get(ctx, &r.id, "audit_add", r.by.actor, r.action, r.by.reason, filter, n, jsonText(kept))
}
