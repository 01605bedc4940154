package replay_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/replay"
)

// broker takes messages and does with each what a test says.
type broker struct {
	took []string
	each func(id string) error
}

func (b *broker) Publish(_ context.Context, msgs []outbox.Message) []error {
	errs := make([]error, len(msgs))
	for i, m := range msgs {
		if errs[i] = b.each(m.ID.String()); errs[i] == nil {
			b.took = append(b.took, m.ID.String())
		}
	}
	return errs
}

// setUp returns a run over published messages, and their ids.
func setUp(t *testing.T, n int) (replay.Run, *broker, *sqlx.DB, []string) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db, _, err := database.Open(sqlite.URL(filepath.Join(t.TempDir(), "both.db")), "test")
	check(err)
	t.Cleanup(func() { db.Close() })
	ob, err := outbox.New(db)
	check(err)
	_, err = ob.Migrate(t.Context())
	check(err)
	in, err := inbox.New(db, "notifications")
	check(err)
	_, err = in.Migrate(t.Context())
	check(err)
	tx, err := db.BeginTxx(t.Context(), nil)
	check(err)
	defer tx.Rollback()
	var ids []string
	for range n {
		m := outbox.NewMessage("order.created", []byte(`{}`))
		check(ob.Enqueue(t.Context(), tx, m))
		ids = append(ids, m.ID.String())
	}
	check(tx.Commit())
	_, err = db.Exec(`UPDATE outbox_messages SET status = 'published', published_at = created_at`)
	check(err)
	b := &broker{each: func(string) error { return nil }}
	return replay.Run{Outbox: ob, Publisher: b, Inbox: in}, b, db, ids
}

func apply(t *testing.T, db *sqlx.DB, id string) {
	t.Helper()
	hash := sha256.Sum256([]byte(`{}`))
	if _, err := db.Exec(`INSERT INTO processed_events (consumer, event_id, payload_hash) VALUES ('notifications', $1, $2)`, id, hash[:]); err != nil {
		t.Fatal(err)
	}
}

func TestOutcomes(t *testing.T) {
	r, b, db, ids := setUp(t, 6)
	apply(t, db, ids[0])
	b.each = func(id string) error {
		switch id {
		case ids[1]:
			return errors.New("refused")
		case ids[2], ids[3]:
			apply(t, db, id)
		}
		return nil
	}
	var since time.Time
	r.DeadLetters = func(_ context.Context, from time.Time, each func(string)) error {
		since = from
		each("another")
		each(ids[4])
		return nil
	}
	var recorded []string
	r.Record = func(_ context.Context, some []string) error {
		if len(b.took) > 0 {
			t.Error("recorded after it was published")
		}
		recorded = append(recorded, some...)
		return nil
	}
	got, err := r.Do(t.Context())
	if err != nil || got.Events != 6 || got.Published != 5 || got.Failed != 1 || got.Duplicates != 1 || got.Applied != 2 ||
		got.DeadLettered != 1 || got.Unsettled != 1 || len(got.Reasons) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if since.IsZero() || !slices.Equal(recorded, ids) {
		t.Errorf("since %v, recorded %v", since, recorded)
	}
	r.Since = time.Now().Add(time.Hour)
	if got, err := r.Do(t.Context()); err != nil || got.Refused != 6 || got.Published != 0 {
		t.Errorf("beyond the horizon: %+v, %v", got, err)
	}
	r.Since, r.DryRun, b.took = time.Time{}, true, nil
	if got, err := r.Do(t.Context()); err != nil || got.Published != 6 || len(b.took) > 0 {
		t.Errorf("dry run: %+v, %v, %v", got, err, b.took)
	}
}

// A run that ends at any moment goes on from what it has kept, and leaves out
// nothing.
func TestGoesOn(t *testing.T) {
	r, b, _, ids := setUp(t, 1200)
	r.Inbox = nil
	file := replay.StateFile(t.TempDir(), map[string]string{"topic": "order.created"})
	if _, ok, err := replay.ReadState(file); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	r.Save = func(now replay.Result) error {
		return replay.State{After: now.After, Published: now.Published}.Write(file)
	}
	b.each = func(string) error {
		if len(b.took) >= 700 {
			return outbox.ErrUnavailable
		}
		return nil
	}
	if got, err := r.Do(t.Context()); !errors.Is(err, replay.ErrAway) || got.After != 500 || len(b.took) != 700 {
		t.Fatalf("%+v, %v; the broker took %d", got, err, len(b.took))
	}
	goOn := func() {
		t.Helper()
		state, ok, err := replay.ReadState(file)
		if err != nil || !ok || state.After != 500 {
			t.Fatalf("%+v, %v, %v", state, ok, err)
		}
		r.Query.After = state.After
	}
	goOn()
	killed := errors.New("killed")
	keep := r.Save
	b.each = func(string) error { return nil }
	r.Save = func(replay.Result) error { return killed } // published, and not kept yet
	if _, err := r.Do(t.Context()); !errors.Is(err, killed) {
		t.Fatal(err)
	}
	goOn()
	r.Save = keep
	if got, err := r.Do(t.Context()); err != nil || got.After != 1200 || got.Published != 700 {
		t.Fatalf("%+v, %v", got, err)
	}
	if seen := slices.Compact(slices.Sorted(slices.Values(b.took))); !slices.Equal(seen, slices.Sorted(slices.Values(ids))) {
		t.Errorf("%d of %d messages were published", len(seen), len(ids))
	}
}

func TestAway(t *testing.T) {
	r, b, _, _ := setUp(t, 3)
	b.each = func(string) error { return outbox.ErrUnavailable }
	if got, err := r.Do(t.Context()); !errors.Is(err, replay.ErrAway) || !errors.Is(err, outbox.ErrUnavailable) || got.After != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.each = func(string) error { cancel(); return nil }
	r.Rate = 1
	if got, err := r.Do(ctx); !errors.Is(err, context.Canceled) || got.Published != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}
