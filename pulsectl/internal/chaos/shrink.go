package chaos

import "slices"

// Shrink drops faults from a schedule while the failure stays: first halves, then
// smaller and smaller parts, down to single faults. It calls fails at most budget
// times, and returns the smallest schedule for which that was true, and how often it
// was called. What depends on chance may need several tries: a schedule with which a
// run does not fail once counts as one that does not.
//
// It is the algorithm ddmin of Zeller and Hildebrandt, "Simplifying and Isolating
// Failure-Inducing Input", IEEE TSE 28(2), 2002, on complements alone.
func Shrink(faults []Fault, budget int, fails func([]Fault) bool) (smallest []Fault, calls int) {
	parts := 2
	for len(faults) > 0 {
		size := (len(faults) + parts - 1) / parts
		reduced := false
		for from := 0; from < len(faults); from += size {
			if calls == budget {
				return faults, calls
			}
			calls++
			rest := slices.Concat(faults[:from], faults[min(from+size, len(faults)):])
			if fails(rest) {
				faults, parts, reduced = rest, max(parts-1, 2), true
				break
			}
		}
		if reduced {
			continue
		}
		if size == 1 {
			break
		}
		parts = min(parts*2, len(faults))
	}
	return faults, calls
}
