package outbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// topics of the records, in their order.
func topics(records []Record) (list []string) {
	for _, r := range records {
		list = append(list, r.Topic)
	}
	return list
}

func TestListFilters(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		put(t, ob, Message{Topic: "a", Type: "A", Key: "k1", CorrelationID: "c1"}, Published, 0)
		put(t, ob, Message{Topic: "b", Type: "B", Key: "k2", CorrelationID: "c2"}, Pending, 0)
		put(t, ob, Message{Topic: "c", Type: "B", Key: "k2", CorrelationID: "c1", CausationID: "a1"}, Pending, 3)
		put(t, ob, Message{Topic: "d", Type: "D"}, Dead, 1)
		put(t, ob, Message{Topic: "e", Type: "E"}, Discarded, 0)
		db.MustExec(`UPDATE outbox_messages SET last_error = '100% _Unroutable\' WHERE topic = 'd'`)
		day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
		for n := range 5 {
			db.MustExec(`UPDATE outbox_messages SET created_at = $1 WHERE seq = $2`, d.dialect.Time(day(n+1)), n+1)
		}

		for _, c := range []struct {
			q    ListQuery
			want string
		}{
			{ListQuery{}, "e d c b a"},
			{ListQuery{OldestFirst: true}, "a b c d e"},
			{ListQuery{Statuses: []Status{Pending}}, "c b"},
			{ListQuery{Statuses: []Status{Pending}, Retrying: true}, "c"},
			{ListQuery{Retrying: true}, "c"},
			{ListQuery{Statuses: []Status{Dead}, Retrying: true}, ""},
			{ListQuery{Statuses: []Status{Dead, Published}}, "d a"},
			{ListQuery{Statuses: Statuses()}, "e d c b a"},
			{ListQuery{Topic: "a"}, "a"},
			{ListQuery{Topic: "A"}, ""},
			{ListQuery{Type: "B"}, "c b"},
			{ListQuery{Key: "k2"}, "c b"},
			{ListQuery{CorrelationID: "c1"}, "c a"},
			{ListQuery{CorrelationID: "c1", Statuses: []Status{Published}}, "a"},
			{ListQuery{CausationID: "a1"}, "c"},
			{ListQuery{CausationID: "a1", Topic: "a"}, ""},
			{ListQuery{ErrorContains: "SAID no"}, "c"},
			{ListQuery{ErrorContains: "100% _unroutable\\"}, "d"},
			{ListQuery{ErrorContains: "%"}, "d"},
			{ListQuery{ErrorContains: "_"}, "d"},
			{ListQuery{ErrorContains: `\`}, "d"},
			{ListQuery{Since: day(2), Until: day(4)}, "c b"},
			{ListQuery{Since: day(5)}, "e"},
			{ListQuery{Until: day(2)}, "a"},
			{ListQuery{Topic: "'; DROP TABLE outbox_messages; --"}, ""},
		} {
			page, err := ob.List(t.Context(), c.q)
			if got := strings.Join(topics(page.Records), " "); got != c.want || err != nil || page.Next != 0 {
				t.Errorf("%+v: %q, next %d, %v; want %q", c.q, got, page.Next, err, c.want)
			}
			n, more, err := ob.Count(t.Context(), c.q, 5)
			if want := len(strings.Fields(c.want)); n != want || more || err != nil {
				t.Errorf("%+v: count %d, %v, %v; want %d", c.q, n, more, err, want)
			}
		}
	})
}

func TestListPages(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		var msgs []Message
		for i := range 7 {
			msgs = append(msgs, Message{Topic: fmt.Sprint(i), Payload: []byte("p")})
		}
		enqueue(t, ob, msgs...)
		for _, oldest := range []bool{false, true} {
			var got []string
			q := ListQuery{Limit: 3, OldestFirst: oldest, WithoutPayload: true}
			for pages := 1; ; pages++ {
				page, err := ob.List(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, topics(page.Records)...)
				if page.Records[0].Payload != nil {
					t.Error("payload although none was asked for")
				}
				// Rows that appear or vanish before the cursor do not shift the page.
				if pages == 1 && !oldest {
					enqueue(t, ob, Message{Topic: "new"})
				}
				if q.After = page.Next; q.After == 0 {
					break
				}
			}
			want := []string{"6", "5", "4", "3", "2", "1", "0"}
			if oldest {
				slices.Reverse(want)
				want = append(want, "new")
			}
			if !slices.Equal(got, want) {
				t.Errorf("oldest first %v: %v, want %v", oldest, got, want)
			}
		}
		// A page that is exactly full has no successor.
		if page, err := ob.List(t.Context(), ListQuery{Limit: 8}); len(page.Records) != 8 || page.Next != 0 || err != nil {
			t.Errorf("%d records, next %d, %v", len(page.Records), page.Next, err)
		}
		if n, more, err := ob.Count(t.Context(), ListQuery{Limit: 1, After: 1}, 5); n != 5 || !more || err != nil {
			t.Errorf("count %d, %v, %v; want 5 and more", n, more, err)
		}
	})
}

func TestListRefusesInvalidQueries(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		now := time.Now()
		for want, q := range map[string]ListQuery{
			`Statuses: unknown status "sent"`: {Statuses: []Status{"sent"}},
			"Limit: -1; must be 0 to 1000":    {Limit: -1},
			"Limit: 1001":                     {Limit: MaxLimit + 1},
			"After: -3":                       {After: -3},
			"Since: is not before Until":      {Since: now, Until: now},
		} {
			if _, err := ob.List(t.Context(), q); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		}
		all := ListQuery{Statuses: []Status{"x", "y"}, Limit: 2000, After: -1}
		if _, err := ob.List(t.Context(), all); err == nil || strings.Count(err.Error(), ";") < 4 {
			t.Errorf("%v, want all problems", err)
		}
		if _, _, err := ob.Count(t.Context(), ListQuery{}, 0); err == nil || !strings.Contains(err.Error(), "limit: 0") {
			t.Errorf("count: %v", err)
		}
		if _, _, err := ob.Count(t.Context(), ListQuery{Statuses: []Status{"x"}}, 1); err == nil {
			t.Error("count: no error on a bad status")
		}
	})
}

func TestGet(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		id := uuid.New()
		if _, err := ob.Get(t.Context(), id); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), id.String()) {
			t.Errorf("%v, want ErrNotFound with the id", err)
		}
		put(t, ob, Message{ID: id, Topic: "t"}, Pending, 1)
		r, err := ob.Get(t.Context(), id)
		if err != nil || !r.Retrying() || r.ID != id {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestListBlockedBy(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		put(t, ob, Message{Topic: "before", Key: "k"}, Pending, 0)
		head := put(t, ob, Message{Topic: "head", Key: "k"}, Dead, 2)
		put(t, ob, Message{Topic: "second", Key: "k"}, Pending, 1)
		put(t, ob, Message{Topic: "last", Key: "k"}, Pending, 0)
		put(t, ob, Message{Topic: "other", Key: "other"}, Pending, 0)
		put(t, ob, Message{Topic: "done", Key: "k"}, Published, 0)
		put(t, ob, Message{Topic: "keyless, failed"}, Pending, 1)
		put(t, ob, Message{Topic: "keyless"}, Pending, 0)
		// A delay is not a failure: it blocks no other message.
		put(t, ob, Message{Topic: "delayed", Key: "d", AvailableAt: time.Now().Add(time.Hour)}, Pending, 0)
		put(t, ob, Message{Topic: "after delayed", Key: "d"}, Pending, 0)

		page, err := ob.List(t.Context(), ListQuery{})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]uuid.UUID{"second": head, "last": head}
		for _, r := range page.Records {
			if r.BlockedBy != want[r.Topic] {
				t.Errorf("%s is blocked by %v, want %v", r.Topic, r.BlockedBy, want[r.Topic])
			}
		}
		if _, err := ob.Discard(t.Context(), "test", head); err != nil {
			t.Fatal(err)
		}
		page, err = ob.List(t.Context(), ListQuery{Topic: "second"})
		if err != nil || page.Records[0].BlockedBy != uuid.Nil {
			t.Errorf("the second is the head now: %+v, %v", page.Records, err)
		}
	})
}

// Producers in any language insert rows; they are read like those of Enqueue.
func TestListRowsWrittenInPlainSQL(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		column, bucket := d.bucketColumn()
		db.MustExec(`INSERT INTO outbox_messages (topic, type, payload, headers` + column + `)
			VALUES ('t', 'T', 'x', '{"n": 1, "s": "text", "b": true, "o": {"a": [1]}}'` + bucket + `)`)
		page, err := ob.List(t.Context(), ListQuery{})
		if err != nil || len(page.Records) != 1 {
			t.Fatalf("%+v, %v", page, err)
		}
		r := page.Records[0]
		want := map[string]string{"n": "1", "s": "text", "b": "true", "o": `{"a": [1]}`}
		if fmt.Sprint(r.Headers) != fmt.Sprint(want) {
			t.Errorf("headers %v, want %v", r.Headers, want)
		}
		if r.ID == uuid.Nil || r.Status != Pending || r.ContentType != "application/json" || r.AvailableAt.After(r.CreatedAt) {
			t.Errorf("defaults: %+v", r)
		}
	})
}

func TestListTimesOutOfRange(t *testing.T) {
	ob, db := postgres.newOutbox(t)
	db.MustExec(`INSERT INTO outbox_messages (topic, type, payload, occurred_at, available_at) VALUES
		('a', 'T', '', 'infinity', '-infinity'), ('b', 'T', '', '20000-01-01', 'infinity'), ('c', 'T', '', '4000-01-01 BC', '2026-01-01Z')`)
	page, err := ob.List(t.Context(), ListQuery{OldestFirst: true})
	if err != nil || len(page.Records) != 3 {
		t.Fatalf("%+v, %v", page, err)
	}
	for i, want := range []struct{ occurred, available int }{{9999, 1}, {9999, 9999}, {1, 2026}} {
		if r := page.Records[i]; r.OccurredAt.Year() != want.occurred || r.AvailableAt.Year() != want.available {
			t.Errorf("%s: occurred %v, available %v", r.Topic, r.OccurredAt, r.AvailableAt)
		}
	}
	if _, err := ob.Stats(t.Context()); err != nil {
		t.Error(err)
	}
}
