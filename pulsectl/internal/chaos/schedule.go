package chaos

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Fault is one fault of a schedule.
type Fault struct {
	Kind Kind
	// Target is what it happens to: service, relay-1, consumer-2, broker, database,
	// or a link such as relay-1>broker.
	Target string
	At     time.Duration // since the load began
	For    time.Duration // until it ends
	// Delay is how late something is, for kinds that delay.
	Delay time.Duration
	// Back is the direction of a one-way fault: towards the client instead of the
	// server; of a clock: into the past.
	Back bool
}

// String describes the fault in a line.
func (f Fault) String() string {
	text := fmt.Sprintf("%s %s for %v", f.Kind, f.Target, f.For)
	if f.Delay > 0 {
		text += fmt.Sprintf(" by %v", f.Delay)
	}
	switch f.Kind {
	case LinkOneWay, LinkLoss:
		text += map[bool]string{false: " to the server", true: " to the client"}[f.Back]
	case DatabaseClock:
		text += map[bool]string{false: " forward", true: " back"}[f.Back]
	}
	return text
}

// Plan is what a schedule is made from. The same plan gives the same schedule.
type Plan struct {
	Seed     uint64
	Duration time.Duration
	Kinds    []Kind
	Targets  map[string][]string // by group of kinds
}

const (
	shortest  = 400 * time.Millisecond // of a fault
	longest   = 5 * time.Second
	quietFor  = 1500 * time.Millisecond // the mean from one fault's beginning to the next, at least
	quietMost = 5 * time.Second         // the same at most, in long runs
	atOnce    = 3                       // faults at a time, at most
	precision = 10 * time.Millisecond   // of all times of a schedule
)

// Schedule draws faults: all kinds in turn, in an order of the seed's, at times
// and for durations of the seed's. No target has two faults at a time, some faults
// overlap, and all have ended at the end of Duration.
func (p Plan) Schedule() []Fault {
	// The second number separates this generator's numbers from others of the seed.
	random := rand.New(rand.NewPCG(p.Seed, 0xFA))
	kinds := slices.DeleteFunc(slices.Clone(p.Kinds), func(k Kind) bool { return len(p.Targets[k.group()]) == 0 })
	if len(kinds) == 0 {
		return nil
	}
	most := min(longest, p.Duration/4)
	quiet := min(max(quietFor, p.Duration/80), quietMost)
	var faults []Fault
	var turn []Kind
	for at := min(time.Second, p.Duration/10); ; at += between(random, quiet/2, quiet*3/2) {
		at = at.Round(precision)
		if p.Duration-at <= shortest {
			return faults
		}
		if len(turn) == 0 {
			turn = slices.Clone(kinds)
			random.Shuffle(len(turn), func(i, j int) { turn[i], turn[j] = turn[j], turn[i] })
		}
		f := Fault{Kind: turn[0], At: at}
		f.For = min(between(random, shortest, max(shortest, most)), p.Duration-at).Round(precision)
		f.Delay, f.Back = f.Kind.drawDelay(random), f.Kind.directed() && random.IntN(2) == 1
		targets := p.Targets[f.Kind.group()]
		f.Target = targets[random.IntN(len(targets))]
		if busy(faults, f) {
			continue
		}
		turn = turn[1:]
		faults = append(faults, f)
	}
}

// busy reports whether f would be one fault too many: for its target, or at once,
// or beside one that is alone.
func busy(faults []Fault, f Fault) bool {
	active := 0
	for _, other := range faults {
		if other.At+other.For <= f.At {
			continue
		}
		active++
		if other.Target == f.Target || other.Kind.alone() || f.Kind.alone() {
			return true
		}
	}
	return active >= atOnce
}

func (k Kind) directed() bool { return k == LinkOneWay || k == LinkLoss || k == DatabaseClock }

func (k Kind) drawDelay(random *rand.Rand) time.Duration {
	switch k {
	case LinkLatency:
		return between(random, 20*time.Millisecond, 300*time.Millisecond).Round(precision)
	case BrokerDelayConfirms, BrokerDelay:
		return between(random, 100*time.Millisecond, 2*time.Second).Round(precision)
	case DatabaseClock:
		return between(random, time.Second, time.Hour).Round(time.Second)
	}
	return 0
}

func between(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)+1))
}

// ParseKinds returns the kinds in a list of kinds and groups separated by commas,
// of those that are known here; all of these for an empty list.
func ParseKinds(list string, known []Kind) ([]Kind, error) {
	if strings.TrimSpace(list) == "" {
		return known, nil
	}
	var chosen []Kind
	var problems []error
	for word := range strings.SplitSeq(list, ",") {
		word = strings.TrimSpace(word)
		found := slices.DeleteFunc(slices.Clone(known), func(k Kind) bool { return string(k) != word && k.group() != word })
		if len(found) == 0 {
			problems = append(problems, fmt.Errorf("%q is neither a fault nor a group of faults here", word))
		}
		chosen = append(chosen, found...)
	}
	slices.Sort(chosen)
	return slices.Compact(chosen), errors.Join(problems...)
}

// Validate reports faults that cannot be injected: into targets that do not exist,
// of kinds that are not known here, or two at a time into one target.
func Validate(faults []Fault, known []Kind, targets map[string][]string) error {
	var problems []error
	sorted := slices.SortedStableFunc(slices.Values(faults), func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	for i, f := range sorted {
		switch {
		case !slices.Contains(known, f.Kind):
			problems = append(problems, fmt.Errorf("there is no fault %q here", f.Kind))
		case !slices.Contains(targets[f.Kind.group()], f.Target):
			problems = append(problems, fmt.Errorf("%s: there is no %q", f.Kind, f.Target))
		case f.At < 0 || f.For <= 0 || f.Delay < 0:
			problems = append(problems, fmt.Errorf("%s %s: times must be positive", f.Kind, f.Target))
		}
		for _, before := range sorted[:i] {
			if before.Target == f.Target && before.At+before.For > f.At {
				problems = append(problems, fmt.Errorf("%s at %v: %s has another fault at that time", f.Target, f.At, f.Target))
			}
		}
	}
	return errors.Join(problems...)
}
