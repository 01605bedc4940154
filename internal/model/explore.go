package model

import (
	"hash/maphash"
	"math/rand/v2"
	"slices"
)

// Result is what an exploration has found.
type Result struct {
	States    int // distinct ones
	Steps     int
	Depth     int // of the longest schedule
	Complete  bool
	Schedule  []Action // that leads to the violation
	Violation *Violation
}

// explorer goes through states depth first. A state that was seen before, by whatever
// schedule, is not gone through again.
type explorer struct {
	*World
	seed    maphash.Seed
	seen    map[uint64]struct{}
	settled map[uint64]struct{} // states from which all is well in the end
	chain   []uint64
	path    []Action
	most    int // states
	result  Result
}

// Explore tries every interleaving of the steps of cfg, up to a number of states; 0: all.
func Explore(cfg Config, most int) Result {
	w, first := NewWorld(cfg)
	x := &explorer{World: w, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}, settled: map[uint64]struct{}{}, most: most}
	x.result.Complete = true
	x.seen[maphash.Comparable(x.seed, first)] = struct{}{}
	x.visit(&first)
	x.result.States = len(x.seen)
	return x.result
}

// visit reports whether to go on.
func (x *explorer) visit(s *State) bool {
	x.result.Depth = max(x.result.Depth, len(x.path))
	if v := x.checkEnd(s); v != nil {
		return x.fail(v)
	}
	for _, a := range x.actions(s, nil) {
		next := *s
		x.path = append(x.path, a)
		x.result.Steps++
		if v := x.apply(&next, a); v != nil {
			return x.fail(v)
		}
		h := maphash.Comparable(x.seed, next)
		if _, seen := x.seen[h]; !seen {
			x.seen[h] = struct{}{}
			if x.most > 0 && len(x.seen) >= x.most {
				x.result.Complete = false
				return false
			}
			if !x.visit(&next) {
				return false
			}
		}
		x.path = x.path[:len(x.path)-1]
	}
	return true
}

func (x *explorer) fail(v *Violation) bool {
	x.result.Complete = false
	x.result.Violation = v
	x.result.Schedule = append([]Action(nil), x.path...)
	return false
}

// checkEnd checks what becomes of a state in the end.
func (x *explorer) checkEnd(s *State) *Violation {
	x.chain = x.chain[:0]
	v, _ := x.settle(*s, func(s *State) bool {
		h := maphash.Comparable(x.seed, *s)
		if _, known := x.settled[h]; known {
			return true
		}
		x.chain = append(x.chain, h)
		return false
	}, x.apply)
	if v == nil {
		for _, h := range x.chain {
			x.settled[h] = struct{}{}
		}
	}
	return v
}

// Random runs schedules of up to a number of steps that seed decides on, until one breaks
// a guarantee.
func Random(cfg Config, seed uint64, schedules, steps int) Result {
	w, first := NewWorld(cfg)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var r Result
	var list []Action
	for range schedules {
		s := first
		r.Schedule = r.Schedule[:0]
		for range steps {
			if list = w.actions(&s, list[:0]); len(list) == 0 {
				break
			}
			a := list[rnd.IntN(len(list))]
			r.Schedule = append(r.Schedule, a)
			r.Steps++
			if r.Violation = w.apply(&s, a); r.Violation != nil {
				return r
			}
		}
		if r.Violation, _ = w.settle(s, never, w.apply); r.Violation != nil {
			return r
		}
	}
	return r
}

func never(*State) bool { return false }

// Shrink takes steps out of a schedule for as long as it breaks the same guarantee. The
// steps in which the faults have ended are among them, unless it breaks only then.
func Shrink(cfg Config, schedule []Action, v *Violation) []Action {
	schedule, _ = follow(cfg, schedule, nil)
	for size := len(schedule) / 2; size > 0; {
		shorter := false
		for from := len(schedule) - size; from >= 0; from-- {
			if from+size > len(schedule) {
				continue
			}
			taken, got := follow(cfg, slices.Delete(slices.Clone(schedule), from, from+size), nil)
			if got != nil && got.Guarantee == v.Guarantee && len(taken) < len(schedule) {
				schedule, shorter = taken, true
			}
		}
		if !shorter {
			size /= 2
		}
	}
	return schedule
}

// follow takes the steps of a schedule, but for those that are not possible, however
// often cfg allows them; then the faults end. It returns the steps that it has taken, up
// to the one that breaks a guarantee. told, which may be nil, is called for each of the
// schedule.
func follow(cfg Config, schedule []Action, told func(before, after *State, a Action)) ([]Action, *Violation) {
	w, s := NewWorld(cfg)
	for k := range s.left {
		s.left[k] = -1
	}
	var taken, list []Action
	for _, a := range schedule {
		if list = w.actions(&s, list[:0]); !slices.Contains(list, a) {
			continue
		}
		before := s
		taken = append(taken, a)
		v := w.apply(&s, a)
		if told != nil {
			told(&before, &s, a)
		}
		if v != nil {
			return taken, v
		}
	}
	n := len(taken)
	v, last := w.settle(s, never, func(s *State, a Action) *Violation {
		taken = append(taken, a)
		return w.apply(s, a)
	})
	if v == nil || last {
		return taken[:n], v
	}
	return taken, v
}
