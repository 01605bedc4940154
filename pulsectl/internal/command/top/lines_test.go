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
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/live"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

var epoch = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func after(seconds float64) time.Time {
	return epoch.Add(time.Duration(seconds * float64(time.Second)))
}

// outboxAt is a look at an outbox with rows from..to in its page; the first of
// them were published, 20ms after they were enqueued.
func outboxAt(seconds float64, from, to, published int64, pending int64) live.Sight {
	s := &live.OutboxSight{Whole: from == 1}
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
	return live.Sight{Part: live.OutboxPart, At: after(seconds), Outbox: s}
}

func inboxAt(seconds float64, whole bool, ids ...int) live.Sight {
	s := &live.InboxSight{Whole: whole, Newest: []inbox.Record{}}
	for _, id := range slices.Backward(ids) {
		s.Newest = append(s.Newest, inbox.Record{EventID: fmt.Sprint(id), ProcessedAt: epoch.Add(time.Duration(id) * time.Millisecond)})
	}
	return live.Sight{Part: live.InboxPart, At: after(seconds), Inbox: s}
}

func count(from, to int) (ids []int) {
	for id := from; id <= to; id++ {
		ids = append(ids, id)
	}
	return ids
}

// A part that is away is down since the first look that failed, and what was
// known about it is not printed as if it were of now.
func TestBoardOutage(t *testing.T) {
	queues := func(seconds float64) live.Sight {
		return live.Sight{Part: live.BrokerPart, At: after(seconds), Queues: &overview.Queues{Depths: inboxrabbit.Depths{Ready: 3, Consumers: 1}}}
	}
	away := func(seconds float64) live.Sight {
		return live.Sight{Part: live.BrokerPart, At: after(seconds), Err: fail.CannotReach("broker", errors.New("refused"))}
	}
	value := func(b *live.Board, key string) any {
		for _, col := range columns {
			if col.Key == key {
				return col.Value(line{epoch, b})
			}
		}
		t.Fatalf("no column %s", key)
		return nil
	}
	b := live.NewBoard()
	b.Observe(queues(0))
	if got := value(b, "ready"); got != 3 {
		t.Errorf("ready: %v", got)
	}
	b.Observe(away(1))
	b.Observe(away(2))
	if c := b.Conditions[live.BrokerPart]; c.State != live.Down || !c.Since.Equal(after(1)) || !c.Seen.Equal(after(0)) {
		t.Errorf("%+v", c)
	}
	if got := value(b, "ready"); got != nil {
		t.Errorf("ready: %v, while the broker is away", got)
	}
	if got := fmt.Sprint(value(b, "reasons")); got != "[broker is down since 2026-11-26T12:00:01Z: cannot reach the broker: refused]" {
		t.Error(got)
	}
	b.Observe(queues(3))
	if got := value(b, "ready"); got != 3 || b.Conditions[live.BrokerPart].State != live.OK {
		t.Errorf("ready: %v, %+v", got, b.Conditions[live.BrokerPart])
	}
	b.Observe(live.Sight{Part: live.InboxPart, At: after(3), Err: fail.Usagef("", "no inbox database given")})
	if got := value(b, "inboxState"); got != live.NotGiven {
		t.Errorf("inbox: %v", got)
	}
	if got := (line{epoch, b}).sentence(); !strings.Contains(got, "ready 3") || !strings.Contains(got, "inbox not given") {
		t.Error(got)
	}
}
