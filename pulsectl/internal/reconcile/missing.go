package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// candidate is an event that was published, or ordered without an outbox row,
// and that nobody has applied: it is lost unless its message is found.
type candidate struct {
	id                string
	topic             string
	ordered, inOutbox bool
}

// A candidate is stored as one text: flags, topic, id.
const (
	flagOrdered = 1 << iota
	flagInOutbox
)

func (c candidate) text() string {
	flags := byte('0')
	if c.ordered {
		flags |= flagOrdered
	}
	if c.inOutbox {
		flags |= flagInOutbox
	}
	return string(flags) + c.topic + "\x00" + c.id // a topic has no NUL: no database accepts one
}

func parseCandidate(text string) candidate {
	flags := text[0]
	topic, id, _ := strings.Cut(text[1:], "\x00")
	return candidate{id: id, topic: topic, ordered: flags&flagOrdered != 0, inOutbox: flags&flagInOutbox != 0}
}

func (v *verification) miss(c candidate) error { return v.missing.add(c.text()) }

// recheck queries the consumer's side again for each missing event, and drops
// those that were applied meanwhile.
func (v *verification) recheck(ctx context.Context) error {
	err := v.sift(ctx, func(ctx context.Context, chunk []candidate) (still []candidate, err error) {
		ids := make([]string, len(chunk))
		for i, c := range chunk {
			ids[i] = c.id
		}
		found, err := v.findApplied(ctx, ids)
		if err != nil {
			return nil, fmt.Errorf("look up events in the inbox: %w", err)
		}
		for _, c := range chunk {
			a, there := found[c.id]
			if !there {
				still = append(still, c)
				continue
			}
			e := event{id: c.id, committed: &committed{id: c.id, topic: c.topic}, applied: a}
			if c.ordered {
				e.committed.orders = 1
			}
			if a.inInbox {
				v.report.Applied++
				v.report.topic(c.topic).Applied++
			}
			v.report.Effects += a.effects
			if err := v.judgeEffect(e); err != nil {
				return nil, err
			}
			if a.inInbox && c.inOutbox {
				if err := v.suspectBody(ctx, suspect{c.id, a.body}); err != nil {
					return nil, err
				}
			}
		}
		return still, nil
	})
	return errors.Join(err, v.lookUpBodies(ctx))
}

// sift passes the missing events to keep, in chunks, and retains what it
// returns.
func (v *verification) sift(ctx context.Context, keep func(context.Context, []candidate) ([]candidate, error)) error {
	left := new(spool)
	chunk := make([]candidate, 0, lookUpSize)
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		still, err := keep(ctx, chunk)
		for _, c := range still {
			if err == nil {
				err = left.add(c.text())
			}
		}
		chunk = chunk[:0]
		return err
	}
	err := func() error {
		for text, err := range v.missing.all() {
			if err != nil {
				return err
			}
			if chunk = append(chunk, parseCandidate(text)); len(chunk) == lookUpSize {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		return flush()
	}()
	if err != nil {
		_ = left.close()
		return err
	}
	old := v.missing
	v.missing = left
	return old.close()
}

// findApplied returns what the consumer's side has of these events, with one
// query.
func (v *verification) findApplied(ctx context.Context, ids []string) (map[string]*applied, error) {
	d := dialect(v.InboxDB)
	inbox := Column{Table: "processed_events", Name: "event_id", kind: "text"}
	condition, fit := inbox.among(d, ids, 2)
	query := `SELECT event_id AS id, 'p' AS origin, payload_hash AS hash FROM processed_events WHERE consumer = $1 AND ` + condition
	args := []any{v.Consumer, list(fit)}
	if v.Effects != nil {
		condition, fit := v.Effects.among(d, ids, 3)
		query += ` UNION ALL SELECT CAST(` + quote(v.Effects.Name) + ` AS text), 'e', NULL FROM ` + v.Effects.quoted() + ` WHERE ` + condition
		args = append(args, list(fit))
	}
	var rows []struct {
		ID, Origin string
		Hash       []byte
	}
	if err := v.InboxDB.SelectContext(ctx, &rows, query, args...); err != nil {
		return nil, sqldb.Schema(err)
	}
	found := make(map[string]*applied)
	for _, row := range rows {
		a := found[row.ID]
		if a == nil {
			a = &applied{id: row.ID}
			found[row.ID] = a
		}
		if row.Origin == "p" {
			a.inInbox = true
			copy(a.body[:], row.Hash)
		} else {
			a.effects++
		}
	}
	return found, nil
}

// declareLost turns the events that are still missing into findings.
func (v *verification) declareLost() error {
	for text, err := range v.missing.all() {
		if err != nil {
			return err
		}
		c := parseCandidate(text)
		if err := v.report.find(Lost, c.id); err != nil {
			return err
		}
		v.report.topic(c.topic).Lost++
		switch {
		case c.ordered && c.inOutbox:
			err = v.report.find(OrderWithoutEffect, c.id)
		case c.ordered:
			err = v.report.find(OrderWithoutEvent, c.id)
		}
		if err != nil {
			return err
		}
	}
	left := v.missing
	v.missing = new(spool)
	return left.close()
}
