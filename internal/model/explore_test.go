package model

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
)

var (
	deep      = flag.Bool("deep", false, "explore the large worlds, too")
	schedules = flag.Int("schedules", 10_000, "random schedules")
	firstSeed = flag.Uint64("seed", 1, "of the first random schedules; 0: any")
)

// worlds are explored whole: every interleaving, with every fault as often as Most says.
var worlds = []Config{
	{Name: "a lease runs out, a crash, an outage", Relays: 2, Transactions: oneMessage,
		Most: map[Kind]int{Expire: 1, Crash: 1, Cut: 1}},
	{Name: "a lease runs out, and a write-back is lost or undone", Relays: 2, Transactions: oneMessage, MaxAttempts: 2,
		Most: map[Kind]int{Expire: 1, ReplyLost: 1, Abort: 1, Nack: 1}},
	{Name: "two relays believe in one lease", Relays: 2, Transactions: twoOfAKey,
		Most: map[Kind]int{Leap: 1}},
	{Name: "a take-over between two messages of a key", Relays: 2, Transactions: []Transaction{{Key: 1, Messages: 2}},
		Most: map[Kind]int{Expire: 1, Nack: 1, CutLate: 1}},
	{Name: "a bucket changes hands", Relays: 2, Transactions: twoOfAKey,
		Most: map[Kind]int{Release: 2}},
	{Name: "a long transaction", Relays: 1, Transactions: oneInBetween,
		Most: map[Kind]int{Tick: 1}},
	{Name: "a number taken long before the insert", Relays: 1, Transactions: slowAndFast,
		Most: map[Kind]int{Tick: 1, Rollback: 1}},
	{Name: "slow reads", Relays: 1, Transactions: twoOfAKey, SlowReads: true,
		Most: map[Kind]int{Tick: 1, Ask: 2}},
	{Name: "a retry, and the reply is lost", Relays: 1, Transactions: []Transaction{{Key: 1, Messages: 2}, {Key: 1}},
		Most: map[Kind]int{Tick: 1, Nack: 1, ReplyLost: 1}},
	{Name: "a dead message is retried or discarded", Relays: 1, Transactions: []Transaction{{Key: 1, Messages: 2}, {Key: 1}}, MaxAttempts: 1,
		Most: map[Kind]int{Tick: 1, Return: 1, Retry: 1}},
	{Name: "pages of one row", Relays: 1, Transactions: oneInBetween, BatchSize: 1,
		Most: map[Kind]int{Nack: 1}},
	{Name: "a fresh message beside a backlog", Relays: 1, Transactions: backlog, BatchSize: 1, Fresh: true,
		Most: map[Kind]int{Nack: 1}},
	{Name: "several messages of a key at once, an outage, a take-over", Relays: 2, Transactions: []Transaction{{Key: 1, Messages: 3}}, KeyWindow: 2,
		Most: map[Kind]int{Cut: 1, CutLate: 1, Expire: 1}},
	{Name: "copies, and consumers that crash", Consumers: 2, Queue: twoCopies,
		Most: map[Kind]int{CrashConsumer: 2, CutConsumer: 2, CommitUnheard: 1, Fail: 1, Locked: 1}},
	{Name: "another message under the same id", Consumers: 2, Queue: copyAndForged,
		Most: map[Kind]int{CrashConsumer: 1, CutConsumer: 1, Fail: 2}},
	{Name: "from the transaction to the effect", Relays: 1, Consumers: 1, Transactions: oneMessage,
		Most: map[Kind]int{Cut: 1, Crash: 1, CrashConsumer: 1, Expire: 1, Replay: 1}},
}

// largeWorlds take minutes.
var largeWorlds = []Config{
	{Name: "fresh messages, a long transaction and a retry", Relays: 1, Transactions: oneInBetween, BatchSize: 1, Fresh: true, SlowReads: true,
		Most: map[Kind]int{Tick: 2, Nack: 1, Ask: 3}},
	{Name: "fresh messages and interventions", Relays: 1, Transactions: backlog, BatchSize: 1, Fresh: true, MaxAttempts: 1,
		Most: map[Kind]int{Tick: 1, Nack: 1, Discard: 1, Retry: 1}},
	{Name: "retries before a take-over", Relays: 2, Transactions: oneMessage, MaxAttempts: 2,
		Most: map[Kind]int{Expire: 1, Cut: 1, Nack: 1, Tick: 1}},
	{Name: "a long transaction and its successors", Relays: 1, Transactions: oneInBetween,
		Most: map[Kind]int{Tick: 2, Rollback: 1}},
	{Name: "retries and a long transaction", Relays: 1, Transactions: threeOfAKey,
		Most: map[Kind]int{Tick: 2, Nack: 1, ReplyLost: 1}},
	{Name: "retried and discarded by hand", Relays: 1, Transactions: []Transaction{{Key: 1, Messages: 2}, {Key: 1}}, MaxAttempts: 1,
		Most: map[Kind]int{Tick: 2, Nack: 1, Retry: 1, Discard: 1}},
	{Name: "two take-overs", Relays: 2, Transactions: twoOfAKey, MaxAttempts: 2,
		Most: map[Kind]int{Expire: 2, Nack: 1, Crash: 1}},
	{Name: "two buckets", Buckets: 2, Relays: 2, Transactions: []Transaction{{Key: 1}, {Key: 2, Bucket: 1}},
		Most: map[Kind]int{Expire: 1, Cut: 1}},
	{Name: "two events, copies of both, and all that happens to consumers", Consumers: 2,
		Queue: []Copy{{Seq: 1, Body: 1}, {Seq: 2, Body: 1}, {Seq: 1, Body: 1}, {Seq: 1, Body: 2}},
		Most:  map[Kind]int{CrashConsumer: 2, CutConsumer: 2, CommitUnheard: 1, Fail: 2, Locked: 1}},
	{Name: "two relays, two consumers", Relays: 2, Consumers: 2, Transactions: oneMessage,
		Most: map[Kind]int{Cut: 1, Crash: 1, CrashConsumer: 1, CutConsumer: 1, Expire: 1, Fail: 1}},
}

// No interleaving breaks a guarantee.
func TestEveryInterleaving(t *testing.T) {
	t.Parallel()
	list, most := worlds, 0
	if *deep {
		list, most = append(list, largeWorlds...), 20_000_000
	}
	for _, cfg := range list {
		t.Run(cfg.Name, func(t *testing.T) {
			cfg.Buckets = max(1, cfg.Buckets)
			r := Explore(cfg, most)
			t.Logf("%d states, %d steps, schedules of up to %d", r.States, r.Steps, r.Depth)
			if r.Violation != nil {
				t.Errorf("%v\n%s", r.Violation, Tell(cfg, Shrink(cfg, r.Schedule, r.Violation)))
			} else if !r.Complete {
				t.Logf("not all: the bound of %d states was reached", most)
			}
		})
	}
}

// Random schedules of larger worlds, in which everything happens.
func TestRandomSchedules(t *testing.T) {
	t.Parallel()
	seed := *firstSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed %d -schedules %d", seed, *schedules)
	const each = 20 // schedules of one world
	steps := 0
	for n := range uint64((*schedules + each - 1) / each) {
		cfg := RandomConfig(seed + n)
		r := Random(cfg, seed+n, each, 100)
		if steps += r.Steps; r.Violation != nil {
			t.Fatalf("-seed %d -schedules 1: %v\n%s%+v", seed+n, r.Violation, Tell(cfg, Shrink(cfg, r.Schedule, r.Violation)), cfg)
		}
	}
	t.Logf("%d steps", steps)
}

// The same steps lead to the same states: what is printed can be tried again.
func TestSchedulesAreDeterministic(t *testing.T) {
	cfg := RandomConfig(1)
	first, second := Random(cfg, 1, 2, 150), Random(cfg, 1, 2, 150)
	if a, b := Tell(cfg, first.Schedule), Tell(cfg, second.Schedule); a != b || strings.Count(a, "\n") < 20 {
		t.Errorf("two schedules of one seed:\n%s\n%s", a, b)
	}
}
