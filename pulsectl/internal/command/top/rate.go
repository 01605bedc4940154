package top

import "time"

const (
	// remembered is how many looks a series keeps, for the sparkline.
	remembered = 120
	// smoothed is how many looks the rate is the mean of.
	smoothed = 5
)

// series is what was counted in the looks, the newest last. A look may count
// less than nothing: what another had counted too early.
type series struct {
	counts []float64
	spans  []time.Duration
}

func (s *series) add(count float64, span time.Duration) {
	s.counts, s.spans = append(s.counts, count), append(s.spans, span)
	if extra := len(s.counts) - remembered; extra > 0 {
		s.counts, s.spans = s.counts[extra:], s.spans[extra:]
	}
}

// rate returns the number per second over the last looks; false: unknown.
func (s *series) rate() (perSecond float64, known bool) {
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

// rates returns the number per second in each look.
func (s *series) rates() []float64 {
	rates := make([]float64, len(s.counts))
	for i := range rates {
		if seconds := s.spans[i].Seconds(); seconds > 0 {
			rates[i] = max(0, s.counts[i]/seconds)
		}
	}
	return rates
}

// added returns how many rows of the outbox are new since the page before.
// Rolled-back transactions leave gaps in seq; they count only if more rows are
// new than a page has.
func (now *outboxSight) added(before *outboxSight) float64 {
	if len(now.newest) == 0 {
		return 0
	}
	var oldest, newest int64 // of the page before
	seen := make(map[int64]bool, len(before.newest))
	for _, r := range before.newest {
		seen[r.Seq] = true
		oldest, newest = r.Seq, max(newest, r.Seq)
	}
	if before.whole {
		oldest = 0
	}
	last := now.newest[len(now.newest)-1].Seq
	if !now.whole && last > newest {
		return float64(now.newest[0].Seq - newest)
	}
	n := 0
	for _, r := range now.newest {
		if !seen[r.Seq] && r.Seq > oldest { // a transaction may commit later than one with a higher seq
			n++
		}
	}
	return float64(n)
}

// open returns how many rows are not published, and whether that is exact.
func (now *outboxSight) open() (n float64, exact bool) {
	s := now.Stats
	return float64(s.Pending.N + s.Dead.N + s.Discarded.N), s.Pending.Exact && s.Dead.Exact && s.Discarded.Exact
}

// lags returns the lag, from enqueueing to the broker's confirm, of the rows that
// have been published since the page before.
func (now *outboxSight) lags(before *outboxSight) (lags []time.Duration) {
	published := make(map[int64]bool, len(before.newest))
	oldest := int64(0)
	for _, r := range before.newest {
		published[r.Seq] = !r.PublishedAt.IsZero()
		oldest = r.Seq
	}
	if before.whole {
		oldest = 0
	}
	for _, r := range now.newest {
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
func (now *inboxSight) added(before *inboxSight, span time.Duration) float64 {
	if len(now.newest) == 0 {
		return 0
	}
	seen := make(map[string]bool, len(before.newest))
	var oldest time.Time // of the page before
	for _, r := range before.newest {
		seen[r.EventID] = true
		oldest = r.ProcessedAt
	}
	if before.whole {
		oldest = time.Time{}
	}
	n := 0
	for _, r := range now.newest {
		if !seen[r.EventID] && !r.ProcessedAt.Before(oldest) {
			n++
		}
	}
	// All are new: there are more of them than a page has, as many in a second as
	// the page says.
	if first, last := now.newest[0].ProcessedAt, now.newest[len(now.newest)-1].ProcessedAt; n == len(now.newest) && !now.whole && first.After(last) {
		return max(float64(n), float64(n)*span.Seconds()/first.Sub(last).Seconds())
	}
	return float64(n)
}
