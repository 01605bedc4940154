package top

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/live"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

func testIO(mode console.ColorMode) *console.IO {
	c := &console.IO{OutTTY: true, Now: func() time.Time { return after(60) }}
	c.SetColor(mode, func(string) string { return "" })
	return c
}

// busy is a model that has seen all parts.
func busy(mode console.ColorMode) *model {
	m := newModel(testIO(mode), time.Second)
	for i := range 60 {
		n := int64(i * 50)
		s := outboxAt(float64(i), max(1, n-99), n, n-10, 10)
		s.Outbox.Relays = []outbox.RelayStatus{
			{Owner: "web-7f6d5b8c9-abcde-12345-k3j4h5", Host: "web-7f6d5b8c9-abcde", Buckets: []int{1, 2, 3}, StartedAt: epoch, Live: true},
			{Owner: "batch-1-x", Host: "batch-1", StartedAt: epoch},
		}
		m.Update(s)
	}
	in := inboxAt(60, true, count(1, 50)...)
	in.Inbox.Instances = []inbox.InstanceStatus{{Name: "mailer-1-y", Queue: "order.created", Subscribed: true, Live: true, Held: 12, OldestHeld: after(50), StartedAt: epoch}}
	m.Update(in)
	names := inboxrabbit.QueueNames("order.created", []time.Duration{time.Second, 5 * time.Second})
	m.Update(live.Sight{Part: live.BrokerPart, At: after(60), Queues: &overview.Queues{Names: names, Depths: inboxrabbit.Depths{Ready: 4, Retrying: 2, DeadLettered: 1, Consumers: 1}}})
	m.Update(tickMsg{})
	return m
}

func press(m *model, keys ...string) (cmd tea.Cmd) {
	codes := map[string]rune{"enter": tea.KeyEnter, "esc": tea.KeyEscape, "down": tea.KeyDown, "backspace": tea.KeyBackspace, "pgdown": tea.KeyPgDown}
	for _, name := range keys {
		key := tea.KeyPressMsg{Code: codes[name]}
		if key.Code == 0 {
			key = tea.KeyPressMsg{Code: rune(name[0]), Text: name}
		}
		_, cmd = m.Update(key)
	}
	return cmd
}

func text(m *model) string { return m.View().Content }

// The screen fills the terminal and is never larger, whatever its size and the
// state of the parts.
func TestScreenFits(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {60, 24}, {60, 10}, {200, 60}, {20, 3}} {
		for name, change := range map[string]func(*model){
			"busy":      func(*model) {},
			"filter":    func(m *model) { press(m, "/", "nothing has this name, however long it may be typed") },
			"paused":    func(m *model) { press(m, "p") },
			"down":      func(m *model) { away(m, strings.Repeat("a long reason ", 20)) },
			"scrolled":  func(m *model) { press(m, "pgdown", "pgdown", "pgdown") },
			"first":     func(m *model) { *m = *newModel(m.io, time.Second) },
			"wide text": func(m *model) { away(m, strings.Repeat("日本語", 40)) },
		} {
			t.Run(fmt.Sprintf("%dx%d/%s", size[0], size[1], name), func(t *testing.T) {
				m := busy(console.ColorAlways)
				change(m)
				m.Update(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
				lines := strings.Split(text(m), "\n")
				if len(lines) != size[1] {
					t.Errorf("%d lines", len(lines))
				}
				for _, line := range lines {
					if w := ansi.StringWidth(line); w > size[0] {
						t.Errorf("%d cells: %q", w, line)
					}
				}
			})
		}
	}
}

func away(m *model, why string) {
	m.Update(live.Sight{Part: live.BrokerPart, At: after(61), Err: fail.CannotReach("broker", errors.New(why))})
}

// At 80x24 everything is seen, and the text says what colours say.
func TestScreen(t *testing.T) {
	m := busy(console.ColorNever)
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 30})
	shown := text(m)
	for _, want := range []string{
		"\nenqueued        50.0/s  ", "\npublished       50.0/s  ", "\npending             10  ", "lag 20ms median, 20ms max (30s)",
		"\nbroker  degraded  1 dead letter in order.created.dlq; 4 ready", "\nbatch-1-x ", "3 of 64", "\nmailer-1-y ", " 12 ",
		"\norder.created.retry.*  2 ", "wait for a retry: 1s, 5s", "q quit",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in\n%s", want, shown)
		}
	}
	if strings.Contains(shown, "\x1b") {
		t.Errorf("colours in\n%q", shown)
	}
	if shown := text(busy(console.ColorAlways)); !strings.Contains(shown, "\x1b[33mdegraded") {
		t.Errorf("no colours in\n%q", shown)
	}
	away(m, "refused")
	shown = text(m)
	for _, want := range []string{"DOWN", "since " + console.Clock(after(61)), "cannot reach the broker: refused", "what is below is of " + console.Clock(after(60))} {
		if !strings.Contains(strings.Join(strings.Fields(shown), " "), want) {
			t.Errorf("no %q in\n%s", want, shown)
		}
	}
	m.Update(live.Sight{Part: live.BrokerPart, At: after(62), Queues: &overview.Queues{}})
	if shown := text(m); strings.Contains(shown, "DOWN") {
		t.Errorf("the broker is back:\n%s", shown)
	}
}

func TestFilter(t *testing.T) {
	m := busy(console.ColorNever)
	m.Update(tea.WindowSizeMsg{Width: 100, Height: 40})
	press(m, "/", "B", "a", "t", "x", "backspace", "q")
	if shown := text(m); !strings.Contains(shown, "filter: Batq_") {
		t.Errorf("a key that quits elsewhere is a letter of the filter:\n%s", shown)
	}
	press(m, "backspace", "enter")
	shown := text(m)
	if !strings.Contains(shown, "batch-1-x") || strings.Contains(shown, "web-7f") || !strings.Contains(shown, `no consumer with "Bat" (1 without)`) || !strings.Contains(shown, "filter: Bat\n") {
		t.Errorf("filtered:\n%s", shown)
	}
	press(m, "/", "z", "esc")
	if m.filter != "Bat" {
		t.Errorf("Esc left the filter %q", m.filter)
	}
	press(m, "esc")
	if shown := text(m); !strings.Contains(shown, "web-7f") || !strings.Contains(shown, "mailer-1") {
		t.Errorf("without a filter:\n%s", shown)
	}
}

// While paused nothing that is shown changes, and the board follows.
func TestPause(t *testing.T) {
	m := busy(console.ColorNever)
	press(m, "p")
	before := text(m)
	if !strings.Contains(before, "PAUSED at ") {
		t.Errorf("does not say that it is paused:\n%s", before)
	}
	for i := range 5 {
		m.Update(outboxAt(float64(100+i), 2900, int64(3000+i), 0, 777))
	}
	away(m, "refused")
	m.Update(tickMsg{})
	if got := text(m); got != before {
		t.Errorf("changed to\n%s", got)
	}
	press(m, "p")
	if got := text(m); !strings.Contains(got, " 777 ") || !strings.Contains(got, "DOWN") || strings.Contains(got, "PAUSED") {
		t.Errorf("after the pause:\n%s", got)
	}
}

func TestScroll(t *testing.T) {
	m := busy(console.ColorNever)
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 8})
	if shown := text(m); !strings.Contains(shown, "more below") || strings.Contains(shown, "order.created.dlq") {
		t.Errorf("at the top:\n%s", shown)
	}
	for range 100 {
		press(m, "down")
	}
	shown := text(m)
	if strings.Contains(shown, "more below") || !strings.Contains(shown, "dead letters") || strings.Contains(shown, "enqueued") {
		t.Errorf("at the end:\n%s", shown)
	}
}

func TestQuit(t *testing.T) {
	for _, key := range []tea.KeyPressMsg{{Code: 'q', Text: "q"}, {Code: 'c', Mod: tea.ModCtrl}} {
		_, cmd := busy(console.ColorNever).Update(key)
		if cmd == nil {
			t.Fatalf("%s does nothing", key)
		}
		if _, quits := cmd().(tea.QuitMsg); !quits {
			t.Errorf("%s does not quit", key)
		}
	}
}

// A panic in a goroutine is handed over, so that the terminal is restored before
// it ends the process.
func TestCollectPanic(t *testing.T) {
	broken := &env.Env{IO: testIO(console.ColorNever)} // without an environment to read
	broken.IO.Now = time.Now
	err := collect(t.Context(), broken, time.Second, raised, func() error { return nil })
	if p, ok := errors.AsType[live.Panicked](err); !ok || !strings.Contains(p.Error(), "follow.go") {
		t.Errorf("got %v", err)
	}
}

// When ctx ends, collect returns with all its goroutines.
func TestCollectEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	e := &env.Env{IO: testIO(console.ColorNever), Getenv: func(name string) string {
		return map[string]string{"PULSE_STATE_DIR": t.TempDir()}[name]
	}}
	e.IO.Now = time.Now
	seen := map[live.Part]bool{}
	err := collect(ctx, e, 100*time.Millisecond, func(s live.Sight) error {
		if fail.From(s.Err).Kind != fail.Usage {
			t.Errorf("%s: %v", s.Part, s.Err)
		}
		if seen[s.Part] = true; len(seen) == int(live.Parts) {
			cancel()
		}
		return nil
	}, func() error { return nil })
	if err != nil {
		t.Error(err)
	}
}
