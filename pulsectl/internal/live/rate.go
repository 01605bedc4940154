package live

import (
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

const (
	// Remembered is how many looks a Series keeps, for the sparkline.
	Remembered = 120
	// smoothed is how many looks the rate is the mean of.
	smoothed = 5
)

// Series is what was counted in the looks, the newest last. A look may count
// less than nothing: what another had counted too early.
type Series struct {
	counts []float64
	spans  []time.Duration
}

func (s *Series) add(count float64, span time.Duration) {
	s.counts, s.spans = append(s.counts, count), append(s.spans, span)
	if extra := len(s.counts) - Remembered; extra > 0 {
		s.counts, s.spans = s.counts[extra:], s.spans[extra:]
	}
}

// Rate returns the number per second over the last looks; false: unknown.
func (s *Series) Rate() (perSecond float64, known bool) {
	var count float64
	var span time.Duration
	for i := max(0, len(s.counts)-smoothed); i < len(s.counts); i++ {
		count += s.counts[i]
		span += s.spans[i]
	}
	if span <= 0 {
		return 0, false
	}
	return max(0, count/span.Seconds()), true
}

// Total returns the number in all looks that are remembered.
func (s *Series) Total() (n float64) {
	for _, count := range s.counts {
		n += count
	}
	return max(0, n)
}

// Rates returns the number per second in each look. What a look has counted too
// early is missing in that before it, which is less than nothing then, and shows in
// neither.
func (s *Series) Rates() []float64 {
	rates := make([]float64, len(s.counts))
	early := 0.0
	for i := range rates {
		count := s.counts[i] + early
		early = min(0, s.counts[i])
		if seconds := s.spans[i].Seconds(); seconds > 0 {
			rates[i] = max(0, count/seconds)
		}
	}
	return rates
}

// String formats the rate for people; "-": unknown.
func (s *Series) String() string {
	perSecond, known := s.Rate()
	switch {
	case !known:
		return "-"
	case perSecond >= 100:
		return reconcile.Thousands(int64(perSecond+0.5)) + "/s"
	}
	return fmt.Sprintf("%.1f/s", perSecond)
}

// added returns how many rows of the outbox are new since the page before.
// Rolled-back transactions leave gaps in seq; they count only if more rows are
// new than a page has.
func (now *OutboxSight) added(before *OutboxSight) float64 {
	if len(now.Newest) == 0 {
		return 0
	}
	var oldest, newest int64 // of the page before
	seen := make(map[int64]bool, len(before.Newest))
	for _, r := range before.Newest {
		seen[r.Seq] = true
		oldest, newest = r.Seq, max(newest, r.Seq)
	}
	if before.Whole {
		oldest = 0
	}
	last := now.Newest[len(now.Newest)-1].Seq
	if !now.Whole && last > newest {
		return float64(now.Newest[0].Seq - newest)
	}
	n := 0
	for _, r := range now.Newest {
		if !seen[r.Seq] && r.Seq > oldest { // a transaction may commit later than one with a higher seq
			n++
		}
	}
	return float64(n)
}

// open returns how many rows are not published, and whether that is exact.
func (now *OutboxSight) open() (n float64, exact bool) {
	s := now.Stats
	return float64(s.Pending.N + s.Dead.N + s.Discarded.N), s.Pending.Exact && s.Dead.Exact && s.Discarded.Exact
}

// lags returns the lag, from enqueueing to the broker's confirm, of the rows that
// have been published since the page before.
func (now *OutboxSight) lags(before *OutboxSight) (lags []time.Duration) {
	published := make(map[int64]bool, len(before.Newest))
	oldest := int64(0)
	for _, r := range before.Newest {
		published[r.Seq] = !r.PublishedAt.IsZero()
		oldest = r.Seq
	}
	if before.Whole {
		oldest = 0
	}
	for _, r := range now.Newest {
		if r.PublishedAt.IsZero() || published[r.Seq] || r.Seq <= oldest {
			continue
		}
		due := r.CreatedAt
		if r.Attempts == 0 && r.AvailableAt.After(due) && r.AvailableAt.Before(r.PublishedAt) {
			due = r.AvailableAt // it was delayed
		}
		lags = append(lags, max(0, r.PublishedAt.Sub(due)))
	}
	return lags
}

// added returns how many events were applied since the page before.
func (now *InboxSight) added(before *InboxSight, span time.Duration) float64 {
	if len(now.Newest) == 0 {
		return 0
	}
	seen := make(map[string]bool, len(before.Newest))
	var oldest time.Time // of the page before
	for _, r := range before.Newest {
		seen[r.EventID] = true
		oldest = r.ProcessedAt
	}
	if before.Whole {
		oldest = time.Time{}
	}
	n := 0
	for _, r := range now.Newest {
		if !seen[r.EventID] && !r.ProcessedAt.Before(oldest) {
			n++
		}
	}
	// All are new: there are more of them than a page has, as many in a second as
	// the page says.
	if first, last := now.Newest[0].ProcessedAt, now.Newest[len(now.Newest)-1].ProcessedAt; n == len(now.Newest) && !now.Whole && first.After(last) {
		return max(float64(n), float64(n)*span.Seconds()/first.Sub(last).Seconds())
	}
	return float64(n)
}
