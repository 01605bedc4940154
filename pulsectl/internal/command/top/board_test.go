package top

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/overview"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

var epoch = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func after(seconds float64) time.Time {
	return epoch.Add(time.Duration(seconds * float64(time.Second)))
}

// outboxAt is a look at an outbox with rows from..to in its page; the first of
// them were published, 20ms after they were enqueued.
func outboxAt(seconds float64, from, to, published int64, pending int64) sight {
	s := &outboxSight{whole: from == 1}
	s.Stats.Pending = outbox.Count{N: pending, Exact: true}
	s.Stats.Dead.Exact, s.Stats.Discarded.Exact = true, true
	for seq := to; seq >= from; seq-- {
		r := outbox.Record{Status: outbox.Pending}
		r.Seq = seq
		r.CreatedAt = epoch
		if seq <= published {
			r.PublishedAt = epoch.Add(20 * time.Millisecond)
		}
		s.newest = append(s.newest, r)
	}
	return sight{part: outboxPart, at: after(seconds), outbox: s}
}

func inboxAt(seconds float64, whole bool, ids ...int) sight {
	s := &inboxSight{whole: whole, newest: []inbox.Record{}}
	for _, id := range slices.Backward(ids) {
		s.newest = append(s.newest, inbox.Record{EventID: fmt.Sprint(id), ProcessedAt: epoch.Add(time.Duration(id) * time.Millisecond)})
	}
	return sight{part: inboxPart, at: after(seconds), inbox: s}
}

func count(from, to int) (ids []int) {
	for id := from; id <= to; id++ {
		ids = append(ids, id)
	}
	return ids
}

func observed(sights ...sight) *board {
	b := newBoard()
	for _, s := range sights {
		b.observe(s)
	}
	return b
}

func TestBoardOutboxRates(t *testing.T) {
	for name, c := range map[string]struct {
		sights              []sight
		enqueued, published string
	}{
		"one look is no rate":         {[]sight{outboxAt(0, 1, 10, 10, 0)}, "-", "-"},
		"all published":               {[]sight{outboxAt(0, 1, 10, 10, 0), outboxAt(2, 1, 30, 30, 0)}, "10.0/s", "10.0/s"},
		"a backlog grows":             {[]sight{outboxAt(0, 1, 10, 10, 0), outboxAt(1, 1, 30, 15, 15)}, "20.0/s", "5.0/s"},
		"a backlog is drained":        {[]sight{outboxAt(0, 1, 40, 0, 40), outboxAt(1, 1, 40, 30, 10)}, "0.0/s", "30.0/s"},
		"the first rows of all":       {[]sight{outboxAt(0, 1, 0, 0, 0), outboxAt(1, 1, 7, 7, 0)}, "7.0/s", "7.0/s"},
		"pages overlap":               {[]sight{outboxAt(0, 50, 100, 100, 0), outboxAt(1, 90, 140, 140, 0)}, "40.0/s", "40.0/s"},
		"more than a page":            {[]sight{outboxAt(0, 50, 100, 100, 0), outboxAt(1, 4950, 5100, 5100, 0)}, "5,000/s", "5,000/s"},
		"old rows were purged":        {[]sight{outboxAt(0, 50, 100, 100, 0), outboxAt(1, 60, 100, 100, 0)}, "0.0/s", "0.0/s"},
		"newest rows were deleted":    {[]sight{outboxAt(0, 50, 100, 100, 0), outboxAt(1, 40, 90, 90, 0)}, "0.0/s", "0.0/s"},
		"a database was emptied":      {[]sight{outboxAt(0, 50, 100, 100, 0), outboxAt(1, 1, 0, 0, 0)}, "0.0/s", "0.0/s"},
		"the mean of the last looks":  {[]sight{outboxAt(0, 1, 0, 0, 0), outboxAt(1, 1, 100, 100, 0), outboxAt(2, 1, 100, 100, 0)}, "50.0/s", "50.0/s"},
		"an outage is part of a span": {[]sight{outboxAt(0, 1, 0, 0, 0), {part: outboxPart, at: after(5), err: errors.New("away")}, outboxAt(10, 1, 100, 100, 0)}, "10.0/s", "10.0/s"},
	} {
		t.Run(name, func(t *testing.T) {
			b := observed(c.sights...)
			if enqueued, published := perSecond(&b.enqueued), perSecond(&b.published); enqueued != c.enqueued || published != c.published {
				t.Errorf("enqueued %s, published %s, want %s, %s", enqueued, published, c.enqueued, c.published)
			}
		})
	}
}

// A count that is exact cannot be compared with an estimate.
func TestBoardEstimatedBacklog(t *testing.T) {
	estimated := outboxAt(1, 1, 20, 0, 500_000)
	estimated.outbox.Stats.Pending.Exact = false
	b := observed(outboxAt(0, 1, 10, 0, 10_000), estimated)
	if got := perSecond(&b.published); got != "-" {
		t.Errorf("published %s", got)
	}
	if got := perSecond(&b.enqueued); got != "10.0/s" {
		t.Errorf("enqueued %s", got)
	}
}

func TestBoardInboxRate(t *testing.T) {
	idle := inboxAt(2, true)
	idle.inbox.newest = nil
	for name, c := range map[string]struct {
		sights  []sight
		applied string
	}{
		"one look is no rate":        {[]sight{inboxAt(0, true, count(1, 5)...)}, "-"},
		"new ones":                   {[]sight{inboxAt(0, true, count(1, 5)...), inboxAt(1, true, count(1, 9)...)}, "4.0/s"},
		"one that was late":          {[]sight{inboxAt(0, false, 10, 30, 50), inboxAt(1, false, 30, 40, 50)}, "1.0/s"},
		"older ones after a purge":   {[]sight{inboxAt(0, false, count(50, 60)...), inboxAt(1, false, count(40, 55)...)}, "0.0/s"},
		"more than a page":           {[]sight{inboxAt(0, false, count(1, 100)...), inboxAt(2, false, count(1001, 1101)...)}, "1,010/s"},
		"nothing, and then more":     {[]sight{inboxAt(0, true, 1), idle, inboxAt(4, true, count(1, 9)...)}, "2.0/s"},
		"the first of all":           {[]sight{inboxAt(0, true), inboxAt(1, true, 1, 2)}, "2.0/s"},
		"the database was set back":  {[]sight{inboxAt(0, false, count(50, 60)...), inboxAt(1, true, 1, 2)}, "0.0/s"},
		"many within one timestamp ": {[]sight{inboxAt(0, false, 1), inboxAt(1, false, 7, 7, 7)}, "3.0/s"},
	} {
		t.Run(name, func(t *testing.T) {
			b := observed(c.sights...)
			if got := perSecond(&b.applied); got != c.applied {
				t.Errorf("applied %s, want %s", got, c.applied)
			}
		})
	}
}

func TestBoardLag(t *testing.T) {
	b := observed(outboxAt(0, 1, 10, 10, 0))
	if _, _, known := b.lag(); known {
		t.Error("a lag of messages that were published before the first look")
	}
	slow := outboxAt(1, 1, 13, 13, 0)
	slow.outbox.newest[0].PublishedAt = epoch.Add(time.Second)
	delayed := &slow.outbox.newest[1]
	delayed.AvailableAt, delayed.PublishedAt = epoch.Add(time.Hour), epoch.Add(time.Hour+30*time.Millisecond)
	b.observe(slow)
	if median, worst, known := b.lag(); !known || median != 30*time.Millisecond || worst != time.Second {
		t.Errorf("%v, %v, %v", median, worst, known)
	}
	b.observe(outboxAt(40, 1, 13, 13, 0))
	if _, _, known := b.lag(); known {
		t.Error("a lag is remembered for too long")
	}
}

// A part that is away is down since the first look that failed, and what was
// known about it is not printed as if it were of now.
func TestBoardOutage(t *testing.T) {
	queues := func(seconds float64) sight {
		return sight{part: brokerPart, at: after(seconds), queues: &overview.Queues{Depths: inboxrabbit.Depths{Ready: 3, Consumers: 1}}}
	}
	away := func(seconds float64) sight {
		return sight{part: brokerPart, at: after(seconds), err: fail.CannotReach("broker", errors.New("refused"))}
	}
	value := func(b *board, key string) any {
		for _, col := range columns {
			if col.Key == key {
				return col.Value(line{epoch, b})
			}
		}
		t.Fatalf("no column %s", key)
		return nil
	}
	b := observed(queues(0))
	if got := value(b, "ready"); got != 3 {
		t.Errorf("ready: %v", got)
	}
	b.observe(away(1))
	b.observe(away(2))
	if c := b.conditions[brokerPart]; c.state != stateDown || !c.since.Equal(after(1)) || !c.seen.Equal(after(0)) {
		t.Errorf("%+v", c)
	}
	if got := value(b, "ready"); got != nil {
		t.Errorf("ready: %v, while the broker is away", got)
	}
	if got := fmt.Sprint(value(b, "reasons")); got != "[broker is down since 2026-11-26T12:00:01Z: cannot reach the broker: refused]" {
		t.Error(got)
	}
	b.observe(queues(3))
	if got := value(b, "ready"); got != 3 || b.conditions[brokerPart].state != stateOK {
		t.Errorf("ready: %v, %+v", got, b.conditions[brokerPart])
	}
	b.observe(sight{part: inboxPart, at: after(3), err: fail.Usagef("", "no inbox database given")})
	if got := value(b, "inboxState"); got != stateNotGiven {
		t.Errorf("inbox: %v", got)
	}
	if got := (line{epoch, b}).sentence(); !strings.Contains(got, "ready 3") || !strings.Contains(got, "inbox not given") {
		t.Error(got)
	}
}

func TestSeriesRemembers(t *testing.T) {
	var s series
	for range 3 * remembered {
		s.add(1, time.Second)
	}
	if n := len(s.rates()); n != remembered {
		t.Errorf("%d looks are remembered", n)
	}
}
