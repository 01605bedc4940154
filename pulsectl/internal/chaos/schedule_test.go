package chaos_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos"
)

func embedded() chaos.Config {
	c := chaos.Config{Seed: 1, Duration: 2 * time.Minute, Rate: 100, Relays: 2, Consumers: 2}
	c.Kinds = c.Known()
	return c
}

// A seed gives the same schedule every time, which can be injected, uses every
// kind, and ends in time.
func TestSchedule(t *testing.T) {
	c := embedded()
	for c.Seed = range 200 {
		faults := c.Plan().Schedule()
		if !reflect.DeepEqual(faults, c.Plan().Schedule()) {
			t.Fatalf("seed %d gives two schedules", c.Seed)
		}
		if err := chaos.Validate(faults, c.Known(), c.Targets()); err != nil {
			t.Errorf("seed %d: %v", c.Seed, err)
		}
		used := map[chaos.Kind]bool{}
		for _, f := range faults {
			used[f.Kind] = true
			if f.At+f.For > c.Duration {
				t.Errorf("seed %d: %s ends at %v", c.Seed, f, f.At+f.For)
			}
		}
		if len(used) != len(c.Kinds) {
			t.Errorf("seed %d: %d of %d kinds in %d faults", c.Seed, len(used), len(c.Kinds), len(faults))
		}
	}
	c.Seed = 7
	other := c.Plan().Schedule()
	if c.Seed = 8; reflect.DeepEqual(c.Plan().Schedule(), other) {
		t.Error("two seeds give one schedule")
	}
}

func TestScheduleWithoutFaults(t *testing.T) {
	c := embedded()
	c.Kinds = []chaos.Kind{chaos.DatabaseStop}
	c.Kinds = nil
	if faults := c.Plan().Schedule(); faults != nil {
		t.Errorf("got %v", faults)
	}
	c.Kinds, c.Duration = c.Known(), 300*time.Millisecond // too short for any
	if faults := c.Plan().Schedule(); faults != nil {
		t.Errorf("got %v", faults)
	}
}

// What a run reports can be read to repeat it.
func TestRepeat(t *testing.T) {
	c := embedded()
	c.Faults = c.Plan().Schedule()
	text, err := json.Marshal(c.Record())
	if err != nil {
		t.Fatal(err)
	}
	var again chaos.Config
	if err := again.Repeat(text); err != nil {
		t.Fatal(err)
	}
	again.Kinds = c.Kinds
	if !reflect.DeepEqual(again, c) {
		t.Errorf("read  %+v\nwrote %+v", again, c)
	}
	for _, bad := range []string{`[]`, `{}`, `{"duration":"1m"}`, `{"duration":"1m","rate":1,"relays":1,"consumers":1,"schedule":[{"kind":"x","at":"soon"}]}`} {
		if err := new(chaos.Config).Repeat([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", bad)
		}
	}
}

func TestValidate(t *testing.T) {
	c := embedded()
	good := chaos.Fault{Kind: chaos.RelayKill, Target: "relay-1", At: time.Second, For: time.Second}
	for _, bad := range []struct {
		faults []chaos.Fault
		says   string
	}{
		{[]chaos.Fault{{Kind: "sun-flare", Target: "relay-1", For: 1}}, `no fault "sun-flare"`},
		{[]chaos.Fault{{Kind: chaos.DatabaseStop, Target: "database", For: 1}}, `no fault "database-stop"`},
		{[]chaos.Fault{{Kind: chaos.RelayKill, Target: "relay-3", For: 1}}, `no "relay-3"`},
		{[]chaos.Fault{{Kind: chaos.RelayKill, Target: "relay-1"}}, "must be positive"},
		{[]chaos.Fault{good, good}, "another fault at that time"},
	} {
		if err := chaos.Validate(bad.faults, c.Known(), c.Targets()); err == nil || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%v: %v, want %s", bad.faults, err, bad.says)
		}
	}
	if err := chaos.Validate([]chaos.Fault{good}, c.Known(), c.Targets()); err != nil {
		t.Error(err)
	}
}

func TestParseKinds(t *testing.T) {
	known := embedded().Known()
	if all, err := chaos.ParseKinds(" ", known); err != nil || !slices.Equal(all, known) {
		t.Errorf("%v, %v", all, err)
	}
	got, err := chaos.ParseKinds("relay, link-cut,relay-kill", known)
	if want := []chaos.Kind{chaos.LinkCut, chaos.RelayKill, chaos.RelayPause}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if _, err := chaos.ParseKinds("relay,database-stop,typo", known); err == nil || !strings.Contains(err.Error(), "database-stop") || !strings.Contains(err.Error(), "typo") {
		t.Errorf("%v", err)
	}
	for _, k := range chaos.Kinds() {
		if k.Usage() == "" {
			t.Errorf("%s has no description", k)
		}
	}
}

// A fault that is alone has no other beside it.
func TestScheduleAlone(t *testing.T) {
	c := embedded()
	for c.Seed = range 50 {
		faults := c.Plan().Schedule()
		for i, f := range faults {
			for _, other := range faults[:i] {
				alone := f.Kind == chaos.BrokerDeleteQueue || f.Kind == chaos.BrokerDeleteExchange ||
					other.Kind == chaos.BrokerDeleteQueue || other.Kind == chaos.BrokerDeleteExchange
				if alone && other.At+other.For > f.At {
					t.Errorf("seed %d: %s at %v beside %s at %v", c.Seed, f, f.At, other, other.At)
				}
			}
		}
	}
}
