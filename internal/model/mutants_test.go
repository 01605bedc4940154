package model

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the schedules in testdata")

var (
	oneMessage    = []Transaction{{Key: 1}}
	threeOfAKey   = []Transaction{{Key: 1}, {Key: 1}, {Key: 1}}
	twoOfAKey     = threeOfAKey[:2]
	oneInBetween  = []Transaction{{Key: 1}, {Key: 2}, {Key: 1}}
	backlog       = []Transaction{{Key: 2}, {Key: 1}, {Key: 1}}
	slowAndFast   = []Transaction{{Slow: true}, {}}
	oneCopy       = []Copy{{Seq: 1, Body: 1}}
	twoCopies     = []Copy{{Seq: 1, Body: 1}, {Seq: 1, Body: 1}}
	copyAndForged = []Copy{{Seq: 1, Body: 1}, {Seq: 1, Body: 2}}
)

// mutants are worlds without one of the product's rules, and the guarantee that each
// breaks.
var mutants = []struct {
	breaks string
	cfg    Config
	mutate func(*Rules)
}{
	{"G2", Config{Name: "no fence", Relays: 2, MaxAttempts: 1, Transactions: oneMessage, Most: map[Kind]int{Nack: 1, Expire: 1}},
		func(r *Rules) { r.NoFence = true }},
	{"G2", Config{Name: "fence without lock", Relays: 2, MaxAttempts: 1, Transactions: oneMessage, Most: map[Kind]int{Nack: 1, Expire: 1}},
		func(r *Rules) { r.FenceWithoutLock = true }},
	{"G6", Config{Name: "no waves", Relays: 1, Transactions: twoOfAKey, Most: map[Kind]int{Nack: 1}},
		func(r *Rules) { r.NoWaves = true }},
	// What RelayConfig.KeyWindow gives up, and its documentation says.
	{"G6", Config{Name: "key window", Relays: 1, Transactions: twoOfAKey, KeyWindow: 2, Most: map[Kind]int{Nack: 1}},
		func(*Rules) {}},
	{"G6", Config{Name: "no stops", Relays: 1, Transactions: twoOfAKey, Most: map[Kind]int{Return: 1}},
		func(r *Rules) { r.NoStops = true }},
	{"G2", Config{Name: "no sweep", Relays: 1, Transactions: slowAndFast, Most: map[Kind]int{Tick: 2}},
		func(r *Rules) { r.NoSweep = true }},
	{"G6", Config{Name: "no grace", Relays: 1, Transactions: oneInBetween},
		func(r *Rules) { r.NoGrace = true }},
	{"G6", Config{Name: "no way back", Relays: 1, Transactions: oneInBetween, Most: map[Kind]int{Tick: 2}},
		func(r *Rules) { r.NoWayBack = true }},
	{"G6", Config{Name: "no rewind", Relays: 1, Transactions: threeOfAKey, Most: map[Kind]int{Tick: 2, Nack: 1}},
		func(r *Rules) { r.NoRewind = true }},
	{"G6", Config{Name: "rewind if told only", Relays: 1, Transactions: threeOfAKey, Most: map[Kind]int{Tick: 2, Nack: 1, ReplyLost: 1}},
		func(r *Rules) { r.RewindIfToldOnly = true }},
	{"G6", Config{Name: "no interventions", Relays: 1, MaxAttempts: 1, Transactions: threeOfAKey, Most: map[Kind]int{Tick: 2, Nack: 1, Discard: 1}},
		func(r *Rules) { r.NoInterventions = true }},
	{"G6", Config{Name: "fresh unchecked", Relays: 1, Transactions: backlog, BatchSize: 1, Fresh: true},
		func(r *Rules) { r.FreshUnchecked = true }},
	{"G6", Config{Name: "fresh after read", Relays: 1, Transactions: oneInBetween, BatchSize: 1, Fresh: true, SlowReads: true, Most: map[Kind]int{Tick: 1, Ask: 1}},
		func(r *Rules) { r.FreshAfterRead = true }},
	{"G6", Config{Name: "fresh moves cursor", Relays: 1, Transactions: []Transaction{{Key: 1, Messages: 2}, {Key: 2}, {Key: 1}}, BatchSize: 1, Fresh: true, Most: map[Kind]int{Tick: 1}},
		func(r *Rules) { r.FreshMovesCursor = true }},
	{"G5", Config{Name: "return is confirm", Relays: 1, Transactions: oneMessage, Most: map[Kind]int{Return: 1}},
		func(r *Rules) { r.ReturnIsConfirm = true }},
	{"G9", Config{Name: "outage is refusal", Relays: 1, Transactions: oneMessage, Most: map[Kind]int{Cut: 1}},
		func(r *Rules) { r.OutageIsRefusal = true }},
	{"G9", Config{Name: "attempts count twice", Relays: 1, Transactions: oneMessage, Most: map[Kind]int{Nack: 1, ReplyLost: 1}},
		func(r *Rules) { r.AttemptsCountTwice = true }},

	{"G7", Config{Name: "no claim", Consumers: 1, Queue: twoCopies},
		func(r *Rules) { r.NoClaim = true }},
	{"G8", Config{Name: "claim apart", Consumers: 1, Queue: oneCopy, Most: map[Kind]int{CrashConsumer: 1}},
		func(r *Rules) { r.ClaimApart = true }},
	{"G8", Config{Name: "ack before commit", Consumers: 1, Queue: oneCopy, Most: map[Kind]int{CrashConsumer: 1}},
		func(r *Rules) { r.AckBeforeCommit = true }},
	{"G8", Config{Name: "ack before repeat", Consumers: 1, Queue: oneCopy, Most: map[Kind]int{Fail: 1}},
		func(r *Rules) { r.AckBeforeRepeat = true }},
	{"G8", Config{Name: "locked is duplicate", Consumers: 2, Queue: oneCopy, Most: map[Kind]int{CutConsumer: 1, Fail: 1}},
		func(r *Rules) { r.LockedIsDuplicate = true }},
	{"G11", Config{Name: "no identity", Consumers: 1, Queue: copyAndForged},
		func(r *Rules) { r.NoIdentity = true }},
}

// Each rule is needed: without it a guarantee is broken, by the schedule in testdata.
// With it, none is in the same world.
func TestRulesAreNeeded(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.cfg.Name, func(t *testing.T) {
			t.Parallel()
			cfg := m.cfg
			cfg.Buckets = 1
			m.mutate(&cfg.Rules)
			r := Explore(cfg, 0)
			t.Logf("%d states", r.States)
			if r.Violation == nil {
				t.Fatal("no guarantee is broken")
			}
			schedule := Shrink(cfg, r.Schedule, r.Violation)
			text := Tell(cfg, schedule)
			if !strings.Contains(text, "     "+m.breaks+": ") {
				t.Errorf("want a schedule that breaks %s", m.breaks)
			}
			t.Logf("\n%s", text)
			name := filepath.Join("testdata", strings.ReplaceAll(m.cfg.Name, " ", "-")+".txt")
			if *update {
				if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(name); err != nil || string(want) != text {
				t.Errorf("not the schedule of %s; run with -update and read the new one: %v", name, err)
			}
		})
	}
}
