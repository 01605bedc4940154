package model

import "fmt"

// Kind is a kind of step.
type Kind int8

const (
	// Producers.
	Insert   Kind = iota // a transaction begins and inserts its messages
	Number               // one takes numbers for its messages, and inserts later
	Write                // and does so now
	Commit               // the transaction
	Rollback             //
	Retry                // by hand: a failed message is pending again
	Discard              // by hand
	Tick                 // time passes

	// Relays.
	Expire  // a lease runs out
	Leap    // and so it seems to the database alone: its clock was set
	Renew   // leases
	Take    // a free lease
	Release // a lease, by choice
	Sweep   // behind the cursors
	FullSweep
	Due       // looks for retries that are due
	Read      // the next rows
	Ask       // a read begins; time may pass until
	Look      // the database has answered it and until
	Receive   // the answer is there
	Send      // the next wave
	Confirm   // Publish returns with all verdicts
	Cut       // the connection to the broker is cut: no verdict arrives
	CutLate   // so, but the answers that were on their way arrive
	Store     // the write-back begins and has its locks
	Written   // it is committed
	ReplyLost // it is committed, and the relay does not learn that
	Abort     // it is rolled back by the database
	Crash
	Start

	// The broker.
	Accept // a message is in a queue
	Return // no queue is bound
	Nack   // the queue is full
	Vanish // a message on a connection that was cut is lost

	// Consumers.
	Replay // a published event is published again
	Forge  // another message is published under the id of an event
	Deliver
	Claim
	CommitEffect
	CommitUnheard // committed, and the consumer does not learn that
	Fail          // the handler fails
	Locked        // another transaction has claimed the event: later
	Repeat        // the copy for a retry, or a dead letter, is confirmed
	Ack
	CutConsumer // its connection to the broker
	CrashConsumer
	StartConsumer

	kinds
)

// faults do not happen unless a Config says how often.
var faults = []Kind{
	Rollback, Retry, Discard, Tick, Expire, Leap, Release, Ask, Cut, CutLate, ReplyLost, Abort, Crash, Return, Nack,
	Replay, Forge, CommitUnheard, Fail, Locked, CutConsumer, CrashConsumer,
}

// Action is a step: what happens, to whom, and with what.
type Action struct {
	Kind Kind
	Who  int8 // a transaction, relay or consumer
	What int8 // a bucket, a seq or a place on the wire
}

// add appends an action if it may be taken so often.
func (s *State) add(list []Action, k Kind, who, what int) []Action {
	if s.left[k] == 0 {
		return list
	}
	return append(list, Action{k, int8(who), int8(what)})
}

// actions appends what can happen next to list.
func (w *World) actions(s *State, list []Action) []Action {
	list = w.producerActions(s, list)
	for b := range w.cfg.Buckets {
		if l := s.leases[b]; l.token != 0 && !l.free {
			list = s.add(list, Expire, 0, b)
		}
	}
	for i := range w.cfg.Relays {
		list = w.relayActions(s, list, i)
	}
	list = w.brokerActions(s, list)
	for i := range w.cfg.Consumers {
		list = w.consumerActions(s, list, i)
	}
	return list
}

func (w *World) producerActions(s *State, list []Action) []Action {
	for i, spec := range w.cfg.Transactions {
		switch t := &s.transactions[i]; t.stage {
		case unbegun:
			if w.keyLocked(s, spec.Key) || int(s.given)+spec.messages() > maxMessages {
				continue
			}
			if spec.Slow {
				list = s.add(list, Number, i, 0)
			} else {
				list = s.add(list, Insert, i, 0)
			}
		case numbered:
			list = s.add(list, Write, i, 0)
		case inserted:
			list = s.add(list, Commit, i, 0)
			list = s.add(list, Rollback, i, 0)
		}
	}
	for seq := int8(1); seq <= s.given; seq++ {
		r := &s.rows[seq]
		if r.status != dead && r.status != pending || w.locked(s, int(r.bucket)) {
			continue
		}
		if r.attempts > 0 {
			list = s.add(list, Retry, 0, int(seq))
		}
		list = s.add(list, Discard, 0, int(seq))
	}
	return s.add(list, Tick, 0, 0)
}

func (w *World) relayActions(s *State, list []Action, i int) []Action {
	r := &s.relays[i]
	if !r.up {
		return s.add(list, Start, i, 0)
	}
	list = s.add(list, Crash, i, 0)
	list = w.keeperActions(s, list, i)
	switch r.phase {
	case idle:
		if w.mayRead(r) {
			list = s.add(list, Read, i, 0)
			if w.cfg.SlowReads {
				list = s.add(list, Ask, i, 0)
			}
		}
	case asked:
		list = s.add(list, Look, i, 0)
	case answered:
		list = s.add(list, Receive, i, 0)
	case sending:
		list = s.add(list, Send, i, 0)
	case waiting:
		if w.allAnswered(s, i) {
			list = s.add(list, Confirm, i, 0)
		} else if w.anyAnswered(s, i) {
			list = s.add(list, CutLate, i, 0)
		}
		list = s.add(list, Cut, i, 0)
	case storing:
		list = s.add(list, Store, i, 0)
	case stored:
		list = s.add(list, Written, i, 0)
		list = s.add(list, ReplyLost, i, 0)
		list = s.add(list, Abort, i, 0)
	}
	return list
}

func (w *World) keeperActions(s *State, list []Action, i int) []Action {
	r := &s.relays[i]
	renew := false
	for b := range w.cfg.Buckets {
		l, own := &s.leases[b], r.own[b]
		renew = renew || own.token != 0 && (own.token != l.token || l.free || !own.valid)
		if own.token == l.token && own.token != 0 {
			if !l.free && own.valid {
				list = s.add(list, Leap, i, b)
			}
			if r.phase == idle {
				list = s.add(list, Release, i, b)
			}
		} else if l.free && !w.locked(s, b) {
			list = s.add(list, Take, i, b)
		}
	}
	if renew {
		list = s.add(list, Renew, i, 0)
	}
	for _, k := range []Kind{Sweep, FullSweep, Due} { // where they change something
		if w.cfg.Rules.NoSweep && k != Due {
			continue
		}
		next := *r
		if k == Due {
			w.due(s, &next)
		} else {
			w.sweep(s, &next, k == FullSweep)
		}
		if next.strays != r.strays || next.buckets != r.buckets {
			list = s.add(list, k, i, 0)
		}
	}
	return list
}

func (w *World) brokerActions(s *State, list []Action) []Action {
	var busy [maxRelays]bool // a channel keeps its order
	for i := range int(s.wires) {
		m := s.wire[i]
		if m.answer != unanswered {
			continue
		}
		if m.relay >= 0 {
			if busy[m.relay] {
				continue
			}
			busy[m.relay] = true
			list = s.add(list, Return, int(m.seq), i)
			list = s.add(list, Nack, int(m.seq), i)
		} else if w.alone(s, i, false) {
			list = s.add(list, Vanish, int(m.seq), i)
		}
		if w.room(s) && (m.relay >= 0 || w.alone(s, i, true)) {
			list = s.add(list, Accept, int(m.seq), i)
		}
	}
	if w.cfg.Consumers == 0 || !w.room(s) {
		return list
	}
	for seq := int8(1); seq <= maxMessages; seq++ {
		if s.arrived[1].has(seq) {
			list = s.add(list, Replay, 0, int(seq))
			list = s.add(list, Forge, 0, int(seq))
		}
	}
	return list
}

func (w *World) consumerActions(s *State, list []Action, i int) []Action {
	c := &s.consumers[i]
	if !c.up {
		return s.add(list, StartConsumer, i, 0)
	}
	list = s.add(list, CrashConsumer, i, 0)
	if c.phase != waitingForWork && !c.stale {
		list = s.add(list, CutConsumer, i, 0)
	}
	switch c.phase {
	case waitingForWork:
		if s.queued > 0 {
			list = s.add(list, Deliver, i, 0)
		}
	case delivered:
		if w.cfg.Rules.AckBeforeCommit {
			return s.add(list, Ack, i, 0)
		}
		if w.claimedElsewhere(s, i) && !w.cfg.Rules.LockedIsDuplicate {
			list = s.add(list, Locked, i, 0)
		} else {
			list = s.add(list, Claim, i, 0)
		}
	case fresh:
		list = s.add(list, CommitEffect, i, 0)
		list = s.add(list, CommitUnheard, i, 0)
		list = s.add(list, Fail, i, 0)
	case duplicate, toAck:
		list = s.add(list, Ack, i, 0)
	case toRepeat, toPostpone, toBury:
		if w.cfg.Rules.AckBeforeRepeat {
			list = s.add(list, Ack, i, 0)
		} else {
			list = s.add(list, Repeat, i, 0)
		}
	}
	return list
}

// relayName and the like name what an action is about.
func relayName(i int8) string    { return "relay " + string(rune('A'+i)) }
func consumerName(i int8) string { return "consumer " + string(rune('X'+i)) }
func message(seq int8) string    { return fmt.Sprintf("message %d", seq) }
