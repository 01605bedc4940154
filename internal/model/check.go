package model

import "fmt"

// Violation says which guarantee of docs/guarantees.md is broken, and how.
type Violation struct {
	Guarantee string
	Text      string
}

func (v *Violation) String() string { return v.Guarantee + ": " + v.Text }

func broken(guarantee, format string, args ...any) *Violation {
	return &Violation{guarantee, fmt.Sprintf(format, args...)}
}

// checkAccepted checks a message that reaches the queue.
func (w *World) checkAccepted(s *State, seq int8) *Violation {
	r := &s.rows[seq]
	switch {
	case r.status == absent:
		return broken("G1", "message %d is in the queue, and its transaction is not committed", seq)
	case r.key == 0 || r.status == discarded || s.accepted.has(seq):
		return nil
	}
	for before := int8(1); before < seq; before++ {
		if b := &s.rows[before]; b.key == r.key && b.status != absent && b.status != discarded && !s.accepted.has(before) {
			return broken("G6", "message %d is in the queue, and message %d of its key, which comes before it, is not", seq, before)
		}
	}
	return nil
}

// checkStored checks the rows of a write-back that is committed.
func (w *World) checkStored(s *State, i int, p *page) *Violation {
	for seq := p.verdicts().next(0); seq != 0; seq = p.verdicts().next(seq) {
		r := &s.rows[seq]
		switch holder := s.leases[r.bucket].token == p.spans[r.bucket].token; {
		case r.status == published && !s.accepted.has(seq):
			return broken("G5", "message %d counts as published, and is in no queue", seq)
		case holder && p.published.has(seq) && r.status == dead:
			return broken("G2", "message %d is dead, although %s, which holds the lease, has its confirm", seq, relayName(int8(i)))
		case r.attempts > s.refusals[seq]:
			return broken("G9", "message %d counts %d failed attempts, and was refused %d times", seq, r.attempts, s.refusals[seq])
		}
	}
	return nil
}

// checkEffects checks an event whose effect is committed.
func (w *World) checkEffects(s *State, seq int8) *Violation {
	if n := s.effects[seq]; n > 1 {
		return broken("G7", "message %d is applied %d times", seq, n)
	}
	return nil
}

// checkAcknowledged checks a message that the broker has just forgotten.
func (w *World) checkAcknowledged(s *State, i int, c Copy) *Violation {
	if w.accounted(s, c.Seq, c.Body) {
		return nil
	}
	if c.Body == 2 || s.effectOf[c.Seq] == 2 {
		return broken("G11", "message %d with another payload than the one applied is acknowledged, and is no dead letter", c.Seq)
	}
	return broken("G8", "message %d is acknowledged, and is neither applied nor a dead letter, nor comes again", c.Seq)
}

// accounted reports whether a message that was in the queue is applied, a dead letter,
// in the queue, or with a consumer that has not acknowledged it.
func (w *World) accounted(s *State, seq, body int8) bool {
	if s.effectOf[seq] == body || s.deadLetters[body].has(seq) {
		return true
	}
	for _, c := range s.queue[:s.queued] {
		if c.Seq == seq && c.Body == body {
			return true
		}
	}
	for i := range w.cfg.Consumers {
		c := &s.consumers[i]
		if c.up && !c.stale && c.phase != waitingForWork && c.copy.Seq == seq && c.copy.Body == body {
			return true
		}
	}
	return false
}

// checkSettled checks a state in which nothing happens any more.
func (w *World) checkSettled(s *State) *Violation {
	for seq := int8(1); seq <= s.given && w.cfg.Relays > 0; seq++ {
		if s.rows[seq].status == pending && !w.behindDead(s, seq) {
			return broken("G2", "message %d is never published, although the faults have ended", seq)
		}
	}
	for body := int8(1); body <= 2; body++ {
		for seq := s.arrived[body].next(0); seq != 0; seq = s.arrived[body].next(seq) {
			if s.effectOf[seq] != body && !s.deadLetters[body].has(seq) {
				return broken("G7", "message %d is neither applied nor a dead letter, although the faults have ended", seq)
			}
		}
	}
	return nil
}

// behindDead reports whether a row waits for a dead one of its key.
func (w *World) behindDead(s *State, seq int8) bool {
	for head := int8(1); head < seq; head++ {
		if r := &s.rows[head]; r.key != 0 && r.key == s.rows[seq].key && r.status == dead {
			return true
		}
	}
	return false
}
