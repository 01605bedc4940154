package outbox

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestRetryResetsAttempts(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		dead := put(t, ob, Message{Topic: "t"}, Dead, 7)
		retrying := put(t, ob, Message{Topic: "t", AvailableAt: time.Now().Add(time.Hour)}, Pending, 2)
		delayed := put(t, ob, Message{Topic: "t", AvailableAt: time.Now().Add(time.Hour)}, Pending, 0)
		n, err := ob.Retry(t.Context(), dead, retrying, delayed, dead)
		if n != 2 || err != nil {
			t.Fatalf("%d, %v; want 2 moved: one is named twice, one has not failed", n, err)
		}
		now := databaseClock(t, ob)
		for _, id := range []uuid.UUID{dead, retrying} {
			r := get(t, ob, id)
			if r.Status != Pending || r.Attempts != 0 || r.AvailableAt.After(now) || r.LastError != "broker said no" {
				t.Errorf("%+v, want a fresh start with the last error kept", r)
			}
		}
		if r := get(t, ob, delayed); !r.AvailableAt.After(now) {
			t.Error("Retry has cut short a delay")
		}
	})
}

func TestDiscardKeepsReasonAndError(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		failed := put(t, ob, Message{Topic: "t"}, Dead, 1)
		fresh := put(t, ob, Message{Topic: "t"}, Pending, 0)
		if n, err := ob.Discard(t.Context(), "order was cancelled", failed, fresh); n != 2 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		for id, want := range map[uuid.UUID]string{
			failed: "discarded: order was cancelled; broker said no",
			fresh:  "discarded: order was cancelled",
		} {
			if r := get(t, ob, id); r.Status != Discarded || r.LastError != want || r.DiscardedAt.IsZero() {
				t.Errorf("%s at %v: %q, want %q", r.Status, r.DiscardedAt, r.LastError, want)
			}
		}
		for _, reason := range []string{"", " \n"} {
			if n, err := ob.Discard(t.Context(), reason, fresh); n != 0 || err == nil || !strings.Contains(err.Error(), "reason: is empty") {
				t.Errorf("reason %q: %d, %v", reason, n, err)
			}
		}
	})
}

func TestInterveneReportsSkipped(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		dead := put(t, ob, Message{Topic: "t"}, Dead, 1)
		published := put(t, ob, Message{Topic: "t"}, Published, 0)
		unknown := uuid.New()
		n, err := ob.Retry(t.Context(), unknown, published, dead, unknown)
		var left *UnchangedError
		if n != 1 || !errors.As(err, &left) {
			t.Fatalf("%d, %v; want 1 moved and an UnchangedError", n, err)
		}
		if !slices.Equal(left.Missing, []uuid.UUID{unknown}) || !maps.Equal(left.Unfit, map[uuid.UUID]Status{published: Published}) {
			t.Errorf("%+v", left)
		}
		if !errors.Is(err, ErrNotFound) || !errors.Is(err, ErrStatus) ||
			!strings.Contains(err.Error(), unknown.String()) || !strings.Contains(err.Error(), published.String()+" is published") {
			t.Errorf("%v", err)
		}
		if r := get(t, ob, dead); r.Status != Pending {
			t.Errorf("%s: what could be moved was not", r.Status)
		}
		if _, err := ob.Retry(t.Context(), unknown); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrStatus) {
			t.Errorf("%v, want ErrNotFound alone", err)
		}
		if n, err := ob.Discard(t.Context(), "none", nil...); n != 0 || err != nil {
			t.Errorf("no ids: %d, %v", n, err)
		}
	})
}

// A relay that has read past held-back rows sees that some may be free.
func TestInterveneCountsByBucket(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		a := put(t, ob, Message{Topic: "t", Key: "a"}, Dead, 1)
		b := put(t, ob, Message{Topic: "t", Key: "b"}, Dead, 1)
		if _, err := ob.Retry(t.Context(), a, b); err != nil {
			t.Fatal(err)
		}
		if _, err := ob.Discard(t.Context(), "test", a); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[uuid.UUID]int{a: 2, b: 1} {
			var got int
			if err := db.Get(&got, `SELECT interventions FROM outbox_leases WHERE bucket = $1`, get(t, ob, id).Bucket); err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%d interventions, want %d", got, want)
			}
		}
	})
}

// A relay's write-back locks its leases and then its rows. An
// intervention waits for it, holds no row meanwhile that it needs, and sees what it
// did, whatever the database's default isolation level.
func TestInterveneWaitsForWriteBack(t *testing.T) {
	for _, isolation := range []string{"read committed", "serializable"} {
		t.Run(isolation, func(t *testing.T) {
			ob, db := postgres.newOutbox(t)
			id := put(t, ob, Message{Topic: "t", Key: "k"}, Pending, 1)
			var name string
			if err := db.Get(&name, `SELECT quote_ident(current_database())`); err != nil {
				t.Fatal(err)
			}
			db.MustExec(`ALTER DATABASE ` + name + ` SET default_transaction_isolation = '` + isolation + `'`)
			db.SetMaxIdleConns(0) // the setting is for new connections
			relay := db.MustBegin()
			defer relay.Rollback()
			relay.MustExec(`SELECT FROM outbox_leases WHERE bucket = (SELECT bucket FROM outbox_messages WHERE id = $1) FOR KEY SHARE`, id)

			result := make(chan error, 1)
			go func() {
				_, err := ob.Discard(t.Context(), "test", id)
				result <- err
			}()
			testenv.Eventually(t, 10*time.Second, "Discard to wait for the lease", func() bool {
				var waiting bool
				err := db.Get(&waiting, `SELECT EXISTS (SELECT FROM pg_stat_activity
					WHERE datname = current_database() AND wait_event_type = 'Lock')`)
				return err == nil && waiting
			})
			relay.MustExec(`UPDATE outbox_messages SET status = 'published', published_at = clock_timestamp() WHERE id = $1`, id)
			if err := relay.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := <-result; !errors.Is(err, ErrStatus) {
				t.Errorf("%v, want ErrStatus: it was published meanwhile", err)
			}
		})
	}
}

func get(t testing.TB, ob *Outbox, id uuid.UUID) Record {
	t.Helper()
	r, err := ob.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
