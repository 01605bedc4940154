package chaos

import (
	"cmp"
	"slices"
	"time"
)

// points is how many points a timeline has.
const points = 240

// life is the way of one order, in times since the load began.
type life struct {
	placed             time.Duration
	published, applied time.Duration // 0: never
}

// measure derives the timeline and the recoveries from the history: nothing had to
// be sampled while the run needed the machine.
func (r *Result) measure() {
	lives := r.lives()
	r.Timeline = timeline(lives, r.Took)
	for i := range r.Faults {
		f := &r.Faults[i]
		if f.Skipped {
			continue
		}
		for _, l := range lives {
			if l.placed > f.Ended {
				break
			}
			f.Recovery = max(f.Recovery, l.applied-f.Ended)
		}
	}
}

// lives returns all orders that clients asked for and that exist, by the time when
// they were asked for.
func (r *Result) lives() (lives []life) {
	since := func(at time.Time) time.Duration { return max(1, at.Sub(r.Began)) }
	published, applied, events := map[string]time.Duration{}, map[string]time.Duration{}, map[string]string{}
	for _, p := range r.History.Publications {
		if _, again := published[p.Event]; !again {
			published[p.Event] = since(p.At)
		}
	}
	for _, e := range r.History.Effects {
		applied[e.Event] = since(e.At)
	}
	for _, o := range r.History.Orders {
		events[o.ID] = o.Event
	}
	for _, a := range r.History.Answers {
		if event, exists := events[a.Order]; exists {
			lives = append(lives, life{since(a.At), published[event], applied[event]})
		}
	}
	slices.SortFunc(lives, func(a, b life) int { return cmp.Compare(a.placed, b.placed) })
	return lives
}

// timeline returns the state at equal intervals. lives are sorted.
func timeline(lives []life, took time.Duration) []Point {
	line := make([]Point, points+1)
	for i := range line {
		line[i].At = took * time.Duration(i) / points
	}
	// An order counts from the first point after it was placed to the last one before
	// it was done.
	for _, l := range lives {
		from, _ := slices.BinarySearchFunc(line, l.placed, func(p Point, at time.Duration) int { return cmp.Compare(p.At, at) })
		for i := from; i < len(line); i++ {
			p := &line[i]
			open := l.applied == 0 || l.applied > p.At
			if l.published == 0 || l.published > p.At {
				p.Unpublished++
			} else if !open {
				break
			}
			if open {
				p.Unapplied++
				p.Lag = max(p.Lag, p.At-l.placed)
			}
		}
	}
	return line
}
