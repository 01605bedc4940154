package inbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Sighting is what one consumer has done with an event.
type Sighting struct {
	Consumer string
	Record   Record // of the applied event; ProcessedAt is zero where it was not applied
	// Started is how often the message was redelivered and started, and neither
	// finished nor refused: it is being handled, or has taken the process down
	// each time. Of first deliveries no start is noted.
	Started   int
	StartedAt time.Time // the last of these starts; zero: there is none
}

// Applied reports whether the consumer has applied the event, as far as its
// inbox remembers.
func (s Sighting) Applied() bool { return !s.Record.ProcessedAt.IsZero() }

// Sightings returns what all consumers that share the table have done with an
// event, by consumer: not only the one given to New. Consumers that know
// nothing of the event are left out. The error may be an ErrSchema.
func (in *Inbox) Sightings(ctx context.Context, eventID string) ([]Sighting, error) {
	var applied []struct {
		Consumer string `db:"consumer"`
		recordRow
	}
	var unfinished []struct {
		Consumer  string        `db:"consumer"`
		Started   int           `db:"started"`
		StartedAt sqldb.Instant `db:"started_at"`
	}
	err := in.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := tx.Select(ctx, &applied, "sightings", eventID); err != nil {
			return err
		}
		return tx.Select(ctx, &unfinished, "unfinished", eventID)
	})
	if err != nil {
		return nil, fmt.Errorf("inbox: event %q: %w", eventID, in.store.Failed(err))
	}
	var all []Sighting
	for _, row := range applied {
		all = append(all, Sighting{Consumer: row.Consumer, Record: row.record()})
	}
	for _, row := range unfinished {
		i := slices.IndexFunc(all, func(s Sighting) bool { return s.Consumer == row.Consumer })
		if i < 0 {
			i, all = len(all), append(all, Sighting{Consumer: row.Consumer})
		}
		all[i].Started, all[i].StartedAt = row.Started, row.StartedAt.Time
	}
	slices.SortFunc(all, func(a, b Sighting) int { return strings.Compare(a.Consumer, b.Consumer) })
	return all, nil
}
