package health

import (
	"errors"
	"testing"
	"time"
)

type sample struct {
	State         string
	Since         time.Time
	LastError     error
	ID            string
	HTTPPort      int
	OldestPending time.Duration
	Never         time.Time
	None          error
	Detail        *struct{ N int }
	Reasons       []string
	Topics        []topic
	None2         []topic
	hidden        int
}

type topic struct {
	Topic   string
	Since   time.Time
	Waiting time.Duration
}

func TestMarshal(t *testing.T) {
	at := time.Date(2026, 11, 26, 7, 8, 9, 120_000_000, time.FixedZone("", 3600))
	s := sample{State: "degraded", Since: at, LastError: errors.New(`no "route"`), ID: "a", HTTPPort: 1,
		OldestPending: 1500 * time.Millisecond, Reasons: []string{"x"}, Topics: []topic{{"t", time.Time{}, time.Minute}}, hidden: 1}
	const want = `{"state":"degraded","since":"2026-11-26T06:08:09.12Z","lastError":"no \"route\"","id":"a","httpPort":1,"oldestPendingSeconds":1.5,"reasons":["x"],"topics":[{"topic":"t","waitingSeconds":60}]}`
	for _, v := range []any{s, &s} {
		got, err := Marshal(v)
		if err != nil || string(got) != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
	if _, err := Marshal(5); err == nil {
		t.Error("a number was taken for a struct")
	}
}

func TestLowerFirst(t *testing.T) {
	for in, want := range map[string]string{
		"State": "state", "LastError": "lastError", "ID": "id", "HTTPPort": "httpPort", "EventID": "eventID", "A": "a", "": "",
	} {
		if got := lowerFirst(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
