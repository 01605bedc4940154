package outbox

import (
	"testing"
	"time"
)

func TestParseSnapshot(t *testing.T) {
	s, err := parseSnapshot("10:20:10,14,19", 7)
	if err != nil || s.xmin != 10 || s.xmax != 20 || len(s.running) != 3 || s.top != 7 || !s.isRunning(14) || s.isRunning(15) {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := parseSnapshot("18446744073709551614:18446744073709551615:", 0); err != nil || len(s.running) != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "1:2", "a:2:", "1:b:", "1:2:c", "1:2:3,", "1:2:3:4"} {
		if _, err := parseSnapshot(bad, 0); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// at is a moment of the test's clock.
func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

func TestHorizonTellsLongTransactionsFromOthers(t *testing.T) {
	h := horizon{grace: time.Second}
	look := func(ms int, s snapshot) view { return h.look(s, at(ms)) }

	// Nothing is known yet: whatever runs may hold a row behind the cursor.
	v := look(0, snapshot{xmin: 10, xmax: 20, running: []uint64{10, 15}, top: 100})
	if v.late || v.settledXmax != 20 || v.settledTop != 0 {
		t.Errorf("at the start: %+v", v)
	}
	// 15 has ended, and could have.
	v = look(200, snapshot{xmin: 10, xmax: 30, running: []uint64{10, 25}, top: 200})
	if !v.late || v.settledXmax != 20 {
		t.Errorf("a transaction ended: %+v", v)
	}
	// 25 began after the oldest sample: it is none that a passed row can lie behind.
	v = look(400, snapshot{xmin: 10, xmax: 40, running: []uint64{10}, top: 300})
	if v.late {
		t.Errorf("a short transaction ended: %+v", v)
	}
	// A second after the first sample its top is settled, and 10 runs on.
	v = look(1050, snapshot{xmin: 10, xmax: 50, running: []uint64{10, 49}, top: 400})
	if v.late || v.settledTop != 100 || v.settledXmax != 40 {
		t.Errorf("after a second: %+v", v)
	}
	v = look(1300, snapshot{xmin: 50, xmax: 60, top: 500})
	if !v.late || v.settledTop != 200 {
		t.Errorf("the long one ended: %+v", v)
	}
	// After an idle time no sample is young enough to tell them apart.
	v = look(9000, snapshot{xmin: 70, xmax: 90, running: []uint64{70}, top: 600})
	if v.late || v.settledXmax != 90 || v.settledTop != 500 {
		t.Errorf("after idling: %+v", v)
	}
	if len(h.samples) > 10 {
		t.Errorf("%d samples are kept", len(h.samples))
	}
}

func TestReach(t *testing.T) {
	var r reach
	quiet := view{snapshot: snapshot{xmin: 30, xmax: 30}, settledXmax: 20}
	busy := view{snapshot: snapshot{xmin: 10, xmax: 40}, settledXmax: 35}
	r.advance(100, quiet)
	if r.cursor != 100 || r.safe != 100 {
		t.Errorf("nothing long is open: %+v", r)
	}
	r.advance(90, quiet)
	if r.cursor != 100 {
		t.Errorf("went back: %+v", r)
	}
	r.advance(200, busy)
	r.advance(300, busy)
	if r.cursor != 300 || r.safe != 100 || r.mark != (mark{200, 35}) {
		t.Errorf("a long one is open: %+v", r)
	}
	if r.look(busy) {
		t.Errorf("went back without cause: %+v", r)
	}
	// The long one has ended: what lies behind is read once more, from where it was safe.
	ended := view{snapshot: snapshot{xmin: 36, xmax: 40}, settledXmax: 35, late: true}
	if !r.look(ended) || r.cursor != 100 || r.safe != 200 || r.mark != (mark{}) {
		t.Errorf("the long one ended: %+v", r)
	}
	if r.look(ended) || r.cursor != 100 {
		t.Errorf("went back twice: %+v", r)
	}
	r.rewind(51)
	if r.cursor != 50 {
		t.Errorf("rewound: %+v", r)
	}
}
