package model

// claimedElsewhere reports whether another consumer's transaction that is open has
// claimed the event: the INSERT of claim.sql would wait for it.
func (w *World) claimedElsewhere(s *State, i int) bool {
	if w.cfg.Rules.NoClaim || w.cfg.Rules.ClaimApart {
		return false
	}
	for other := range w.cfg.Consumers {
		if o := &s.consumers[other]; other != i && o.phase == fresh && o.copy.Seq == s.consumers[i].copy.Seq {
			return true
		}
	}
	return false
}

// claim is claim.sql and, where that finds the event claimed before, applied.sql
// (Inbox.claim). A new claim is part of the transaction of the effect.
func (w *World) claim(s *State, i int) {
	c := &s.consumers[i]
	switch stored := s.claimed[c.copy.Seq]; {
	case w.cfg.Rules.NoClaim:
		c.phase = fresh
	case w.claimedElsewhere(s, i): // only where it is taken for applied
		c.phase = duplicate
	case stored == 0:
		c.phase = fresh
		if w.cfg.Rules.ClaimApart {
			s.claimed[c.copy.Seq] = c.copy.Body
		}
	case stored == c.copy.Body, w.cfg.Rules.NoIdentity:
		c.phase = duplicate
	default:
		c.phase = toBury
	}
}

// commitEffect commits claim and effect. A consumer that does not learn of it runs the
// message again (Consumer.judge, blameless).
func (w *World) commitEffect(s *State, i int, told bool) *Violation {
	c := &s.consumers[i]
	seq := c.copy.Seq
	s.claimed[seq] = c.copy.Body
	s.effects[seq]++
	s.effectOf[seq] = c.copy.Body
	c.phase = delivered
	if told {
		c.phase = toAck
	}
	return w.checkEffects(s, seq)
}

// fail rolls back. The message is retried, or a dead letter (worker.failed).
func (w *World) fail(s *State, i int) {
	c := &s.consumers[i]
	most := w.cfg.Attempts
	if most == 0 {
		most = 2
	}
	c.phase = toRepeat
	if int(c.copy.Tries)+1 >= most {
		c.phase = toBury
	}
}

// repeat publishes a copy of a message to where it goes next, which the broker confirms;
// then the delivery is acknowledged (inbox/rabbitmq/move.go).
func (w *World) repeat(s *State, i int) {
	c := &s.consumers[i]
	next := c.copy
	switch c.phase {
	case toBury:
		s.deadLetters[next.Body].add(next.Seq)
	case toRepeat:
		next.Tries++
		s.enqueue(next)
	default:
		s.enqueue(next)
	}
	c.phase = toAck
}

// acknowledge removes a message from the broker, which ignores that for one of an
// earlier connection.
func (w *World) acknowledge(s *State, i int) *Violation {
	c := &s.consumers[i]
	done := *c
	*c = consumer{up: true}
	if done.stale {
		return nil
	}
	return w.checkAcknowledged(s, i, done.copy)
}

// cutConsumer ends a consumer's connection to the broker, which delivers again what it
// has not acknowledged. Its work goes on.
func (w *World) cutConsumer(s *State, i int) {
	c := &s.consumers[i]
	s.requeue(c.copy)
	c.stale = true
}

func (w *World) crashConsumer(s *State, i int) {
	c := &s.consumers[i]
	if c.phase != waitingForWork && !c.stale {
		s.requeue(c.copy)
	}
	*c = consumer{}
}
