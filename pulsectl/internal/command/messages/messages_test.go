package messages

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
)

// --status accepts, and its help names, the states of the outbox.
func TestParseStatuses(t *testing.T) {
	help := ""
	for _, f := range outboxListCommand(&env.Env{}).Flags {
		if f.Names()[0] == "status" {
			help = f.String()
		}
	}
	for _, status := range outbox.Statuses() {
		if !strings.Contains(help, string(status)) {
			t.Errorf("the help of outbox ls does not name %s", status)
		}
		parsed, retrying, err := ParseStatuses(string(status))
		if err != nil || retrying || len(parsed) != 1 || parsed[0] != status {
			t.Errorf("--status %s: %v, retrying %v, %v", status, parsed, retrying, err)
		}
		if tone := statusTone(outbox.Record{Status: status}); status != outbox.Pending && tone == console.Plain {
			t.Errorf("%s looks like a pending message", status)
		}
	}
	if _, retrying, err := ParseStatuses("retrying"); err != nil || !retrying {
		t.Errorf("--status retrying: %v, %v", retrying, err)
	}
}

// A replay of a message that is pending, or no longer in the inbox, could apply it
// out of order or twice.
func TestReplayable(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	e := &env.Env{IO: &console.IO{Now: func() time.Time { return now }}}
	week := replayOptions{horizon: replayHorizon}
	for name, tc := range map[string]struct {
		rec  outbox.Record
		opts replayOptions
		ok   bool
	}{
		"published a day ago":       {outbox.Record{Status: outbox.Published, PublishedAt: now.Add(-24 * time.Hour)}, week, true},
		"published eight days ago":  {outbox.Record{Status: outbox.Published, PublishedAt: now.Add(-8 * 24 * time.Hour)}, week, false},
		"the same, forced":          {outbox.Record{Status: outbox.Published, PublishedAt: now.Add(-8 * 24 * time.Hour)}, replayOptions{horizon: replayHorizon, force: true}, true},
		"pending":                   {outbox.Record{Status: outbox.Pending}, week, false},
		"dead":                      {outbox.Record{Status: outbox.Dead}, week, false},
		"discarded, even if forced": {outbox.Record{Status: outbox.Discarded}, replayOptions{force: true}, false},
	} {
		if err := replayable(e, tc.rec, tc.opts); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A number of seconds is printed with three digits at most.
func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1372 * time.Millisecond: "1.372", 999_600 * time.Microsecond: "1", 0: "0", 90 * time.Second: "90",
	} {
		if got := fmt.Sprint(Seconds(d)); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
