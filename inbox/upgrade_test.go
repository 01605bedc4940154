package inbox_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
)

// claimOfVersion1 is what a claim sent while the schema was at version 1. It
// stays as it is: programs of that time may run on every later schema.
const claimOfVersion1 = `INSERT INTO processed_events (consumer, event_id, topic, payload_hash, correlation_id, occurred_at)
	VALUES ($1, $2, $3, $4, $5, NULL) ON CONFLICT (consumer, event_id) DO NOTHING`

// What was applied under a former version of the schema counts as applied after
// an upgrade, and so does what a program of the former version applies afterwards.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	for version := 1; ; version++ {
		last := false
		t.Run(fmt.Sprint("from version ", version), func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, url string) {
				db := openDB(t, url)
				steps, err := inbox.Schema(dialect(db))
				if err != nil {
					t.Fatal(err)
				}
				last = version == len(steps)
				for _, step := range steps[:version] {
					mustExec(t, db, step.SQL)
				}
				apply := func(msg inbox.Message) {
					t.Helper()
					hash := sha256.Sum256(msg.Payload)
					mustExec(t, db, claimOfVersion1, "notifications", msg.ID, msg.Topic, hash[:], msg.CorrelationID)
				}
				apply(event(1))
				in, db := newInbox(t, url) // which migrates
				apply(event(2))
				for i := 1; i <= 3; i++ {
					want := inbox.Duplicate
					if i == 3 {
						want = inbox.Processed
					}
					if got, err := once(t, in, event(i)); err != nil || got != want {
						t.Errorf("event %d: %s, %v, want %s", i, got, err, want)
					}
				}
				forged := event(1)
				forged.Payload = []byte("forged")
				if _, err := once(t, in, forged); !errors.Is(err, inbox.ErrConflict) {
					t.Errorf("another payload under the id of one from before: %v, want ErrConflict", err)
				}
				apply(event(3)) // a program of then, again: nothing
				inboxtest.RequireCount(t, db, 3, `SELECT count(*) FROM processed_events`)
				inboxtest.RequireCount(t, db, 1, `SELECT count(*) FROM effects`)
			})
		})
		if last || t.Failed() {
			return
		}
	}
}

func once(t *testing.T, in *inbox.Inbox, msg inbox.Message) (inbox.Outcome, error) {
	t.Helper()
	return in.Once(t.Context(), msg, func(ctx context.Context, tx inbox.Tx) error { return record(ctx, tx, msg) })
}
