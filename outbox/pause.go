package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// MaxPauses is how many pauses there can be: relays read them with every page. To
// pause more, pause all topics.
const MaxPauses = 500

// Pause is a topic that relays do not publish, or all topics.
type Pause struct {
	Topic  string    // empty: all topics
	Since  time.Time // by the database's clock
	Actor  string    // who paused it
	Reason string
}

// Pause makes all relays stop publishing a topic, or everything if topic is empty,
// until somebody resumes it; it needs a reason. Messages stay pending, and count no
// attempt. No relay sends a message that it reads after Pause has returned. Of what it
// has read before, it sends for no longer than about a second; what the broker has
// by then is waited for and stored as usual. Relays of versions without pauses publish
// on: RelayStatus.Version is empty for them.
//
// Of a key whose messages have several topics, later ones wait behind a paused one, as
// the order of keys demands. Other keys are published. fresh reports whether it was not
// paused before; if it was, that pause stays as it is.
func (p Operator) Pause(ctx context.Context, topic string) (fresh bool, err error) {
	return p.pausing(ctx, topic, ActionPause, "pause_add", topic, p.actor, p.reason, MaxPauses)
}

// Resume ends the pause of a topic, or that of everything if topic is empty; pauses of
// single topics then remain. Relays publish within about a second. ended reports
// whether there was such a pause.
func (p Operator) Resume(ctx context.Context, topic string) (ended bool, err error) {
	return p.pausing(ctx, topic, ActionResume, "pause_end", topic)
}

// pausing changes one pause and records that.
func (p Operator) pausing(ctx context.Context, topic, action, query string, args ...any) (changed bool, err error) {
	err = p.check(action)
	if err == nil && len(topic) > maxShortString {
		err = fmt.Errorf("topic: %d bytes; at most %d", len(topic), maxShortString)
	}
	if err == nil {
		err = p.outbox.store.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
			var topics []string
			if err := tx.Select(ctx, &topics, query, args...); err != nil {
				return err
			}
			if changed = len(topics) > 0; changed {
				filter := map[string]string{}
				if topic != "" {
					filter["topic"] = topic
				}
				return p.entry(action, filter).add(ctx, tx, 0, nil)
			}
			if action != ActionPause {
				return nil
			}
			all, err := readPauses(ctx, tx)
			for _, there := range all {
				if there.Topic == topic {
					return nil
				}
			}
			if err == nil {
				err = fmt.Errorf("%d topics are paused, more cannot be; pause all of them, or resume some", len(all))
			}
			return err
		})
	}
	if err != nil {
		return false, fmt.Errorf("outbox: %s: %w", action, sqldb.Explain(err))
	}
	return changed, nil
}

// Pauses returns what is paused, by topic; that of everything comes first.
func (o *Outbox) Pauses(ctx context.Context) (pauses []Pause, err error) {
	err = o.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		pauses, err = readPauses(ctx, tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("outbox: pauses: %w", sqldb.Explain(err))
	}
	return pauses, nil
}

func readPauses(ctx context.Context, tx *sqldb.Tx) ([]Pause, error) {
	var rows []struct {
		Topic  string        `db:"topic"`
		Since  sqldb.Instant `db:"since"`
		Actor  string        `db:"actor"`
		Reason string        `db:"reason"`
	}
	if err := tx.Select(ctx, &rows, "pause_list"); err != nil {
		return nil, err
	}
	var pauses []Pause
	for _, row := range rows {
		pauses = append(pauses, Pause{Topic: row.Topic, Since: row.Since.Time, Actor: row.Actor, Reason: row.Reason})
	}
	return pauses, nil
}
