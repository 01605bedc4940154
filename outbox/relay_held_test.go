package outbox

import (
	"fmt"
	"testing"
)

func TestHeld(t *testing.T) {
	h := newHeld()
	message := func(seq int64, topic, key string) *Message { return &Message{Seq: seq, Topic: topic, Key: key} }
	add := func(m *Message, wantFresh bool) {
		t.Helper()
		if fresh, ok := h.add(m); fresh != wantFresh || !ok {
			t.Errorf("%+v: fresh %v, ok %v", m, fresh, ok)
		}
	}
	add(message(10, "x", "a"), true)
	add(message(10, "x", "a"), false)
	add(message(12, "x", ""), true)
	add(message(20, "z", "b"), true)
	for _, c := range []struct {
		m    *Message
		want string
	}{
		{message(11, "y", "a"), "x"}, {message(9, "y", "a"), ""}, {message(10, "x", "a"), ""},
		{message(30, "x", "b"), "z"}, {message(30, "y", ""), ""}, {message(30, "y", "c"), ""},
	} {
		got := ""
		for topic, state := range h.topics {
			if h.behind(c.m) == state {
				got = topic
			}
		}
		if got != c.want {
			t.Errorf("%+v waits for %q, want %q", c.m, got, c.want)
		}
	}
	if !h.holds(message(1, "x", "")) || h.holds(message(1, "y", "d")) || (*held)(nil).holds(message(1, "x", "")) {
		t.Error("holds is not what is held")
	}
	if h.from() != 10 || (*held)(nil).from() != 0 {
		t.Errorf("from %d", h.from())
	}
	if cursor := h.free("x"); cursor != 9 || h.from() != 20 || h.behind(message(11, "y", "a")) != nil || h.behind(message(21, "y", "b")) == nil {
		t.Errorf("freed back to %d, held %+v", cursor, h)
	}
	for i := range maxHeldKeys - 1 {
		add(message(int64(100+i), "z", fmt.Sprint(i)), true)
	}
	if _, ok := h.add(message(1<<40, "z", "one too many")); ok {
		t.Error("more keys are held than there is room for")
	}
	add(message(1<<40, "z", "7"), true)
}
