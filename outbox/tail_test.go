package outbox

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

func recordTopics(records []Record) (topics []string) {
	for _, r := range records {
		topics = append(topics, r.Topic)
	}
	return topics
}

func TestTailFollows(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		for i := range 5 {
			enqueue(t, ob, Message{Topic: fmt.Sprint("before.", i)})
		}
		tail := ob.Tail(ListQuery{})
		begun, err := tail.Begin(t.Context(), 2)
		if got := recordTopics(begun); err != nil || !slices.Equal(got, []string{"before.3", "before.4"}) {
			t.Fatalf("%v, %v; want the newest two, the oldest first", got, err)
		}
		var got, want []string
		for i := range 30 {
			topic := fmt.Sprint("after.", i)
			enqueue(t, ob, Message{Topic: topic})
			want = append(want, topic)
			fresh, _, err := tail.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, recordTopics(fresh)...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v, want each once", got)
		}
		filtered := ob.Tail(ListQuery{Topic: "after.7"})
		if begun, err := filtered.Begin(t.Context(), 10); err != nil || len(begun) != 1 {
			t.Errorf("%v, %v", recordTopics(begun), err)
		}
	})
}

// A message of a transaction that was open for long comes after later ones, and comes.
func TestTailWaitsForLongTransactions(t *testing.T) {
	ob, db := postgres.newOutbox(t)
	enqueue(t, ob, Message{Topic: "first"})
	tail := ob.Tail(ListQuery{})
	if _, err := tail.Begin(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	next := func() []string {
		t.Helper()
		fresh, _, err := tail.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return recordTopics(fresh)
	}
	open := db.MustBegin()
	defer open.Rollback()
	if err := ob.Enqueue(t.Context(), open, Message{Topic: "long"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	testenv.Eventually(t, 30*time.Second, "the position to pass the open transaction's row", func() bool {
		enqueue(t, ob, Message{Topic: "later"})
		got = append(got, next()...)
		return tail.position.Cursor > 3
	})
	if slices.Contains(got, "long") {
		t.Fatalf("%v", got)
	}
	if err := open.Commit(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got = append(got, next()...)
	}
	if n := len(slices.DeleteFunc(got, func(topic string) bool { return topic != "long" })); n != 1 {
		t.Errorf("the message came %d times", n)
	}
}
