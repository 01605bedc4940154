package cursor

import (
	"fmt"
	"testing"
	"time"
)

func TestParseSnapshot(t *testing.T) {
	s, err := ParseSnapshot("10:20:10,14,19", 22-3, 7)
	if err != nil || s.xmin != 10 || s.xmax != 20 || s.next != 22 || len(s.running) != 3 || s.Top != 7 {
		t.Errorf("%+v, %v", s, err)
	}
	for xid, ended := range map[uint64]bool{9: true, 14: false, 15: true, 20: false, 21: false} {
		if s.hasEnded(xid) != ended {
			t.Errorf("transaction %d has ended: %t", xid, !ended)
		}
	}
	// Around the places where the lower half of the numbers begins anew, and where
	// an age is negative.
	for _, c := range []struct{ xmax, next uint64 }{
		{5<<32 - 2, 5<<32 + 9}, {5<<32 + 1, 5<<32 + 1}, {7<<32 + 1<<31 + 5, 7<<32 + 1<<31 + 6}, {1<<31 + 2, 1<<31 + 4},
	} {
		age := int64(int32(uint32(c.next) - 3))
		if s, err := ParseSnapshot(fmt.Sprintf("%d:%d:", c.xmax, c.xmax), age, 0); err != nil || s.next != c.next || len(s.running) != 0 {
			t.Errorf("after %d, age %d: %+v, %v", c.xmax, age, s, err)
		}
	}
	for _, bad := range []string{"", "1:2", "a:2:", "1:b:", "1:2:c", "1:2:3,", "1:2:3:4"} {
		if _, err := ParseSnapshot(bad, 0, 0); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// at is a moment of the test's clock.
func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

func TestHorizonLongTransactions(t *testing.T) {
	h := NewHorizon(time.Second)
	look := func(ms int, s Snapshot) (v View) {
		s.next = s.xmax
		h, v = h.Look(s, at(ms), at(ms))
		return v
	}

	// Nothing is known yet: whatever runs may hold a row behind the cursor.
	v := look(0, Snapshot{xmin: 10, xmax: 20, running: []uint64{10, 15}, Top: 100})
	if v.late || v.settledXID != 20 || v.settledTop != 0 {
		t.Errorf("at the start: %+v", v)
	}
	// 15 has ended, and could have.
	v = look(200, Snapshot{xmin: 10, xmax: 30, running: []uint64{10, 25}, Top: 200})
	if !v.late || v.settledXID != 20 {
		t.Errorf("a transaction ended: %+v", v)
	}
	// 25 began after the oldest sample: it is none that a passed row can lie behind.
	v = look(400, Snapshot{xmin: 10, xmax: 40, running: []uint64{10}, Top: 300})
	if v.late {
		t.Errorf("a short transaction ended: %+v", v)
	}
	// A second after the first sample its top is settled, and 10 runs on.
	v = look(1050, Snapshot{xmin: 10, xmax: 50, running: []uint64{10, 49}, Top: 400})
	if v.late || v.settledTop != 100 || v.settledXID != 40 {
		t.Errorf("after a second: %+v", v)
	}
	v = look(1300, Snapshot{xmin: 50, xmax: 60, Top: 500})
	if !v.late || v.settledTop != 200 {
		t.Errorf("the long one ended: %+v", v)
	}
	// After an idle time no sample is young enough to tell them apart.
	v = look(9000, Snapshot{xmin: 70, xmax: 90, running: []uint64{70}, Top: 600})
	if v.late || v.settledXID != 90 || v.settledTop != 500 {
		t.Errorf("after idling: %+v", v)
	}
	if len(h.samples) > 10 {
		t.Errorf("%d samples are kept", len(h.samples))
	}
}

func TestPosition(t *testing.T) {
	var p Position
	quiet := View{xmin: 30, settledXID: 20}
	busy := View{xmin: 10, settledXID: 35}
	p = p.advance(100, quiet)
	if p.Cursor != 100 || p.Safe != 100 {
		t.Errorf("nothing long is open: %+v", p)
	}
	p = p.advance(90, quiet)
	if p.Cursor != 100 {
		t.Errorf("went back: %+v", p)
	}
	p = p.advance(200, busy).advance(300, busy)
	if p.Cursor != 300 || p.Safe != 100 || p.mark != (mark{200, 35}) {
		t.Errorf("a long one is open: %+v", p)
	}
	p, back := p.Look(busy)
	if back {
		t.Errorf("went back without cause: %+v", p)
	}
	// The long one has ended: what lies behind is read once more, from where it was safe.
	ended := View{xmin: 36, settledXID: 35, late: true}
	p, back = p.Look(ended)
	if !back || p.Cursor != 100 || p.Safe != 200 || p.mark != (mark{}) {
		t.Errorf("the long one ended: %+v", p)
	}
	p, back = p.Look(ended)
	if back || p.Cursor != 100 {
		t.Errorf("went back twice: %+v", p)
	}
	if p = p.Rewind(51); p.Cursor != 50 {
		t.Errorf("rewound: %+v", p)
	}
}

func TestPositionPass(t *testing.T) {
	v := View{settledTop: 40}
	for _, c := range []struct {
		name string
		rows []Row
		end  bool
		want int64
	}{
		{"nothing, to the end", nil, true, 40},
		{"nothing, as the page is full", nil, false, 10},
		{"done and old", []Row{{20, true, true}, {30, true, true}}, false, 30},
		{"one is not done", []Row{{20, true, true}, {30, false, true}, {35, true, true}}, true, 29},
		{"one is young", []Row{{20, true, true}, {50, true, false}}, true, 40},
		{"strays behind the cursor count for nothing", []Row{{5, false, true}, {20, true, true}}, true, 40},
	} {
		if p := (Position{Cursor: 10}).Pass(10, c.rows, c.end, v); p.Cursor != c.want {
			t.Errorf("%s: %d, want %d", c.name, p.Cursor, c.want)
		}
	}
}
