package live

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
)

var epoch = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func after(seconds float64) time.Time {
	return epoch.Add(time.Duration(seconds * float64(time.Second)))
}

// outboxAt is a look at an outbox with rows from..to in its page; the first of
// them were published, 20ms after they were enqueued.
func outboxAt(seconds float64, from, to, published int64, pending int64) Sight {
	s := &OutboxSight{Whole: from == 1}
	s.Stats.Pending = outbox.Count{N: pending, Exact: true}
	s.Stats.Dead.Exact, s.Stats.Discarded.Exact = true, true
	for seq := to; seq >= from; seq-- {
		r := outbox.Record{Status: outbox.Pending}
		r.Seq = seq
		r.CreatedAt = epoch
		if seq <= published {
			r.PublishedAt = epoch.Add(20 * time.Millisecond)
		}
		s.Newest = append(s.Newest, r)
	}
	return Sight{Part: OutboxPart, At: after(seconds), Outbox: s}
}

func inboxAt(seconds float64, whole bool, ids ...int) Sight {
	s := &InboxSight{Whole: whole, Newest: []inbox.Record{}}
	for _, id := range slices.Backward(ids) {
		s.Newest = append(s.Newest, inbox.Record{EventID: fmt.Sprint(id), ProcessedAt: epoch.Add(time.Duration(id) * time.Millisecond)})
	}
	return Sight{Part: InboxPart, At: after(seconds), Inbox: s}
}

func count(from, to int) (ids []int) {
	for id := from; id <= to; id++ {
		ids = append(ids, id)
	}
	return ids
}

func observed(sights ...Sight) *Board {
	b := NewBoard()
	for _, s := range sights {
		b.Observe(s)
	}
	return b
}

func TestBoardOutboxRates(t *testing.T) {
	for name, c := range map[string]struct {
		sights              []Sight
		enqueued, published string
	}{
		"one look is no rate":         {[]Sight{outboxAt(0, 1, 10, 10, 0)}, "-", "-"},
		"all published":               {[]Sight{outboxAt(0, 1, 10, 10, 0), outboxAt(2, 1, 30, 30, 0)}, "10.0/s", "10.0/s"},
		"a backlog grows":             {[]Sight{outboxAt(0, 1, 10, 10, 0), outboxAt(1, 1, 30, 15, 15)}, "20.0/s", "5.0/s"},
		"a backlog is drained":        {[]Sight{outboxAt(0, 1, 40, 0, 40), outboxAt(1, 1, 40, 30, 10)}, "0.0/s", "30.0/s"},
		"the first rows of all":       {[]Sight{outboxAt(0, 1, 0, 0, 0), outboxAt(1, 1, 7, 7, 0)}, "7.0/s", "7.0/s"},
		"pages overlap":               {[]Sight{outboxAt(0, 50, 100, 100, 0), outboxAt(1, 90, 140, 140, 0)}, "40.0/s", "40.0/s"},
		"more than a page":            {[]Sight{outboxAt(0, 50, 100, 100, 0), outboxAt(1, 4950, 5100, 5100, 0)}, "5,000/s", "5,000/s"},
		"old rows were purged":        {[]Sight{outboxAt(0, 50, 100, 100, 0), outboxAt(1, 60, 100, 100, 0)}, "0.0/s", "0.0/s"},
		"newest rows were deleted":    {[]Sight{outboxAt(0, 50, 100, 100, 0), outboxAt(1, 40, 90, 90, 0)}, "0.0/s", "0.0/s"},
		"a database was emptied":      {[]Sight{outboxAt(0, 50, 100, 100, 0), outboxAt(1, 1, 0, 0, 0)}, "0.0/s", "0.0/s"},
		"the mean of the last looks":  {[]Sight{outboxAt(0, 1, 0, 0, 0), outboxAt(1, 1, 100, 100, 0), outboxAt(2, 1, 100, 100, 0)}, "50.0/s", "50.0/s"},
		"an outage is part of a span": {[]Sight{outboxAt(0, 1, 0, 0, 0), {Part: OutboxPart, At: after(5), Err: errors.New("away")}, outboxAt(10, 1, 100, 100, 0)}, "10.0/s", "10.0/s"},
	} {
		t.Run(name, func(t *testing.T) {
			b := observed(c.sights...)
			if enqueued, published := b.Enqueued.String(), b.Published.String(); enqueued != c.enqueued || published != c.published {
				t.Errorf("enqueued %s, published %s, want %s, %s", enqueued, published, c.enqueued, c.published)
			}
		})
	}
}

// A count that is exact cannot be compared with an estimate.
func TestBoardEstimatedBacklog(t *testing.T) {
	estimated := outboxAt(1, 1, 20, 0, 500_000)
	estimated.Outbox.Stats.Pending.Exact = false
	b := observed(outboxAt(0, 1, 10, 0, 10_000), estimated)
	if got := b.Published.String(); got != "-" {
		t.Errorf("published %s", got)
	}
	if got := b.Enqueued.String(); got != "10.0/s" {
		t.Errorf("enqueued %s", got)
	}
}

func TestBoardInboxRate(t *testing.T) {
	idle := inboxAt(2, true)
	idle.Inbox.Newest = nil
	for name, c := range map[string]struct {
		sights  []Sight
		applied string
	}{
		"one look is no rate":        {[]Sight{inboxAt(0, true, count(1, 5)...)}, "-"},
		"new ones":                   {[]Sight{inboxAt(0, true, count(1, 5)...), inboxAt(1, true, count(1, 9)...)}, "4.0/s"},
		"one that was late":          {[]Sight{inboxAt(0, false, 10, 30, 50), inboxAt(1, false, 30, 40, 50)}, "1.0/s"},
		"older ones after a purge":   {[]Sight{inboxAt(0, false, count(50, 60)...), inboxAt(1, false, count(40, 55)...)}, "0.0/s"},
		"more than a page":           {[]Sight{inboxAt(0, false, count(1, 100)...), inboxAt(2, false, count(1001, 1101)...)}, "1,010/s"},
		"nothing, and then more":     {[]Sight{inboxAt(0, true, 1), idle, inboxAt(4, true, count(1, 9)...)}, "2.0/s"},
		"the first of all":           {[]Sight{inboxAt(0, true), inboxAt(1, true, 1, 2)}, "2.0/s"},
		"the database was set back":  {[]Sight{inboxAt(0, false, count(50, 60)...), inboxAt(1, true, 1, 2)}, "0.0/s"},
		"many within one timestamp ": {[]Sight{inboxAt(0, false, 1), inboxAt(1, false, 7, 7, 7)}, "3.0/s"},
	} {
		t.Run(name, func(t *testing.T) {
			b := observed(c.sights...)
			if got := b.Applied.String(); got != c.applied {
				t.Errorf("applied %s, want %s", got, c.applied)
			}
		})
	}
}

func TestBoardLag(t *testing.T) {
	b := observed(outboxAt(0, 1, 10, 10, 0))
	if _, _, known := b.Lag(); known {
		t.Error("a lag of messages that were published before the first look")
	}
	slow := outboxAt(1, 1, 13, 13, 0)
	slow.Outbox.Newest[0].PublishedAt = epoch.Add(time.Second)
	delayed := &slow.Outbox.Newest[1]
	delayed.AvailableAt, delayed.PublishedAt = epoch.Add(time.Hour), epoch.Add(time.Hour+30*time.Millisecond)
	b.Observe(slow)
	if median, worst, known := b.Lag(); !known || median != 30*time.Millisecond || worst != time.Second {
		t.Errorf("%v, %v, %v", median, worst, known)
	}
	b.Observe(outboxAt(40, 1, 13, 13, 0))
	if _, _, known := b.Lag(); known {
		t.Error("a lag is Remembered for too long")
	}
}

// A message that is enqueued between the two statements of a look is pending before
// it is known to be new: nothing has been published.
func TestBoardPublishesNothingWithoutBroker(t *testing.T) {
	b := observed(outboxAt(0, 1, 10, 10, 0), outboxAt(1, 1, 10, 10, 1), outboxAt(2, 1, 12, 10, 2), outboxAt(3, 1, 13, 10, 4), outboxAt(4, 1, 15, 10, 5))
	if got := b.Published.Rates(); !slices.Equal(got, []float64{0, 0, 0, 0}) {
		t.Errorf("published %v", got)
	}
	if got := b.Enqueued.Rates(); !slices.Equal(got, []float64{0, 2, 1, 2}) {
		t.Errorf("enqueued %v", got)
	}
}

func TestSeriesRemembers(t *testing.T) {
	var s Series
	for range 3 * Remembered {
		s.add(1, time.Second)
	}
	if n := len(s.Rates()); n != Remembered {
		t.Errorf("%d looks are Remembered", n)
	}
}
