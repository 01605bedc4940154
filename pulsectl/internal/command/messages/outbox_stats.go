package messages

import (
	"context"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

var statsColumns = []console.Column[outbox.Stats]{
	countColumn("pending", func(s outbox.Stats) outbox.Count { return s.Pending }),
	countColumn("retrying", func(s outbox.Stats) outbox.Count { return s.Retrying }),
	countColumn("delayed", func(s outbox.Stats) outbox.Count { return s.Delayed }),
	countColumn("blocked", func(s outbox.Stats) outbox.Count { return s.Blocked }),
	countColumn("blockedKeys", func(s outbox.Stats) outbox.Count { return s.BlockedKeys }),
	countColumn("dead", func(s outbox.Stats) outbox.Count { return s.Dead }),
	countColumn("published", func(s outbox.Stats) outbox.Count { return s.Published }),
	countColumn("discarded", func(s outbox.Stats) outbox.Count { return s.Discarded }),
	{Key: "oldestPending", Value: func(s outbox.Stats) any { return s.OldestPending }},
	{Key: "oldestPendingSeconds", Value: func(s outbox.Stats) any { return Seconds(s.OldestPendingAge) }},
	{Key: "estimated", Value: estimated},
}

// Seconds returns d in seconds for JSON, rounded to milliseconds. (Duration's own
// gives 1.3719999999999999 for 1372ms.)
func Seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond).Milliseconds()) / 1000
}

func countColumn(key string, count func(outbox.Stats) outbox.Count) console.Column[outbox.Stats] {
	return console.Column[outbox.Stats]{Key: key, Value: func(s outbox.Stats) any { return count(s).N }}
}

// estimated names the counts that are estimates: for a big table they come from
// the database's statistics.
func estimated(s outbox.Stats) any {
	names := []string{}
	for _, c := range []struct {
		key   string
		count outbox.Count
	}{
		{"pending", s.Pending}, {"retrying", s.Retrying}, {"delayed", s.Delayed}, {"blocked", s.Blocked},
		{"blockedKeys", s.BlockedKeys}, {"dead", s.Dead}, {"published", s.Published}, {"discarded", s.Discarded},
	} {
		if !c.count.Exact {
			names = append(names, c.key)
		}
	}
	return names
}

func outboxStats(ctx context.Context, e *env.Env) error {
	var stats outbox.Stats
	var pauses []outbox.Pause
	err := fail.Within(ctx, env.LookLimit, func(ctx context.Context) error {
		ob, _, err := e.Outbox(ctx)
		if err != nil {
			return err
		}
		if stats, err = ob.Stats(ctx); err == nil {
			pauses, err = ob.Pauses(ctx)
		}
		return fail.Wrap("cannot count the outbox", err)
	})
	if err != nil {
		return err
	}
	columns := append(statsColumns[:len(statsColumns):len(statsColumns)],
		console.Column[outbox.Stats]{Key: "paused", Value: func(outbox.Stats) any { return overview.PausedTopics(pauses) }})
	return console.RenderOne(e.IO, columns, stats)
}
