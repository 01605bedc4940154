package model

// settle lets the faults end and everything go on, in a fixed order, until nothing is
// left to do, and returns what is wrong then. It ends early at a state that known says is
// known. step is called before each step, and takes it; last reports whether what is
// wrong is found in the end, and not by a step.
func (w *World) settle(s State, known func(*State) bool, step func(*State, Action) *Violation) (v *Violation, last bool) {
	const (
		ticks = 12  // enough for retries, and for grace twice
		steps = 500 // more is a loop
	)
	n := 0
	for tick := 0; ; tick++ {
		for {
			if known(&s) {
				return nil, false
			}
			a, ok := w.healing(&s)
			if !ok {
				break
			}
			if v := step(&s, a); v != nil {
				return v, false
			}
			if n++; n > steps {
				return broken("G2", "it goes on for ever"), true
			}
		}
		v := w.checkSettled(&s)
		if v == nil || tick == ticks {
			return v, true
		}
		step(&s, Action{Kind: Tick})
		for i := range w.cfg.Relays {
			if !w.cfg.Rules.NoSweep && s.relays[i].up {
				step(&s, Action{Kind: FullSweep, Who: int8(i)})
			}
		}
	}
}

// healing returns the next step of a world without faults.
func (w *World) healing(s *State) (Action, bool) {
	for i := range w.cfg.Transactions {
		switch s.transactions[i].stage {
		case numbered:
			return Action{Write, int8(i), 0}, true
		case inserted:
			return Action{Commit, int8(i), 0}, true
		}
	}
	for i := range int(s.wires) {
		if m := s.wire[i]; m.answer == unanswered && w.room(s) {
			return Action{Accept, m.seq, int8(i)}, true
		}
	}
	for i := range w.cfg.Consumers {
		if a, ok := w.healConsumer(s, i); ok {
			return a, true
		}
	}
	for i := range w.cfg.Relays {
		if a, ok := w.healRelay(s, i); ok {
			return a, true
		}
	}
	return Action{}, false
}

func (w *World) healConsumer(s *State, i int) (Action, bool) {
	c := &s.consumers[i]
	k := Deliver
	switch {
	case !c.up:
		k = StartConsumer
	case c.phase == waitingForWork && s.queued == 0:
		return Action{}, false
	case c.phase == delivered && w.cfg.Rules.AckBeforeCommit:
		k = Ack
	case c.phase == delivered && w.claimedElsewhere(s, i) && !w.cfg.Rules.LockedIsDuplicate:
		return Action{}, false // until the other has committed
	case c.phase == delivered:
		k = Claim
	case c.phase == fresh:
		k = CommitEffect
	case c.phase == toRepeat, c.phase == toPostpone, c.phase == toBury:
		k = Repeat
		if w.cfg.Rules.AckBeforeRepeat {
			k = Ack
		}
	case c.phase != waitingForWork:
		k = Ack
	}
	return Action{k, int8(i), 0}, true
}

func (w *World) healRelay(s *State, i int) (Action, bool) {
	r := &s.relays[i]
	who := int8(i)
	if !r.up {
		return Action{Start, who, 0}, true
	}
	switch r.phase {
	case asked:
		return Action{Look, who, 0}, true
	case answered:
		return Action{Receive, who, 0}, true
	case sending:
		return Action{Send, who, 0}, true
	case waiting:
		return Action{Confirm, who, 0}, true // what is on the wire was accepted before
	case storing:
		return Action{Store, who, 0}, true
	case stored:
		return Action{Written, who, 0}, true
	}
	for b := range w.cfg.Buckets {
		if l := &s.leases[b]; r.own[b].token != 0 && (r.own[b].token != l.token || l.free || !r.own[b].valid) {
			return Action{Renew, who, 0}, true
		}
		if !w.held(s, b) {
			if !s.leases[b].free {
				return Action{Expire, 0, int8(b)}, true // at last
			}
			return Action{Take, who, int8(b)}, true
		}
	}
	for _, k := range []Kind{Due, Read} {
		if k == Read && !w.mayRead(r) {
			continue
		}
		next := *s
		w.apply(&next, Action{k, who, 0})
		if next != *s {
			return Action{k, who, 0}, true
		}
	}
	return Action{}, false
}

// held reports whether a relay that lives has a lease.
func (w *World) held(s *State, b int) bool {
	for i := range w.cfg.Relays {
		if r := &s.relays[i]; r.up && r.own[b].token == s.leases[b].token && r.own[b].token != 0 {
			return true
		}
	}
	return false
}
