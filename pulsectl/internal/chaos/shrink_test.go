package chaos_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos"
)

// Whichever faults a failure needs, these are what is left.
func TestShrink(t *testing.T) {
	all := embedded().Plan().Schedule()
	for _, culprits := range [][]int{{}, {0}, {len(all) - 1}, {3, 4}, {1, 20, 40}, {5, 6, 7, 8}} {
		var want []chaos.Fault
		for _, i := range culprits {
			want = append(want, all[i])
		}
		got, calls := chaos.Shrink(slices.Clone(all), 10_000, func(faults []chaos.Fault) bool {
			for _, f := range want {
				if !slices.Contains(faults, f) {
					return false
				}
			}
			return true
		})
		if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("culprits %v: %d faults are left after %d runs: %v", culprits, len(got), calls, got)
		}
	}
}

// The budget holds, and what is left still fails.
func TestShrinkBudget(t *testing.T) {
	all := embedded().Plan().Schedule()
	fails := func(faults []chaos.Fault) bool { return slices.Contains(faults, all[7]) }
	got, calls := chaos.Shrink(slices.Clone(all), 3, fails)
	if calls != 3 || !fails(got) || len(got) == len(all) {
		t.Errorf("%d runs, %d of %d faults are left", calls, len(got), len(all))
	}
	if got, calls := chaos.Shrink(slices.Clone(all), 100, func([]chaos.Fault) bool { return false }); len(got) != len(all) || calls > 100 {
		t.Errorf("a failure that does not come again: %d faults are left after %d runs", len(got), calls)
	}
}
