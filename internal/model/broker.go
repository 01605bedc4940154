package model

// accept puts a message that has reached the broker into its queue, and has it
// confirmed. A message that is confirmed is not lost: that is the broker's promise.
func (w *World) accept(s *State, place int) *Violation {
	m := &s.wire[place]
	seq := m.seq
	if m.relay >= 0 {
		m.answer = ack
	} else {
		s.forget(place)
	}
	v := w.checkAccepted(s, seq)
	s.accepted.add(seq)
	if w.cfg.Consumers > 0 {
		s.enqueue(Copy{Seq: seq, Body: 1})
	}
	return v
}

// refuse answers a message with nack or returned.
func (w *World) refuse(s *State, place int, with answer) {
	m := &s.wire[place]
	m.answer = with
	s.refusals[m.seq]++
}

// orphans takes the messages of a relay off the wire, and returns them. Those that have
// not reached the broker may still do so, but nobody waits for an answer.
func (s *State) orphans(i int) (mine []onWire) {
	rest := s.wire
	n := s.wires
	s.wire, s.wires = [maxWire]onWire{}, 0
	left := 0
	for _, m := range rest[:n] {
		if m.relay < 0 {
			left++
		}
	}
	for _, m := range rest[:n] {
		if int(m.relay) == i {
			mine = append(mine, m)
			if m.answer != unanswered || left == maxOrphans {
				continue
			}
			left++
			m.relay = -1
		}
		s.wire[s.wires] = m
		s.wires++
	}
	return mine
}

// forget removes a message from the wire.
func (s *State) forget(place int) {
	copy(s.wire[place:], s.wire[place+1:])
	s.wire[maxWire-1] = onWire{}
	s.wires--
}

func (s *State) enqueue(c Copy) {
	s.queue[s.queued] = c
	s.queued++
	s.arrived[c.Body].add(c.Seq)
}

// dequeue takes the first message of the queue.
func (s *State) dequeue() Copy {
	c := s.queue[0]
	copy(s.queue[:], s.queue[1:])
	s.queued--
	s.queue[s.queued] = Copy{}
	return c
}

// requeue returns a message to where it was.
func (s *State) requeue(c Copy) {
	copy(s.queue[1:], s.queue[:])
	s.queue[0] = c
	s.queued++
}

// alone reports whether what becomes of a message on a connection that was cut does not depend
// on others. What is sent on one channel arrives up to some message, and nothing behind that: with
// several messages of a key on their way the first is the next to arrive, and the last the
// next to be lost.
func (w *World) alone(s *State, place int, arrives bool) bool {
	if w.cfg.KeyWindow < 2 {
		return true
	}
	rest := s.wire[place+1 : s.wires]
	if arrives {
		rest = s.wire[:place]
	}
	for _, m := range rest {
		if m.relay < 0 {
			return false
		}
	}
	return true
}

func (w *World) allAnswered(s *State, i int) bool {
	for _, m := range s.wire[:s.wires] {
		if int(m.relay) == i && m.answer == unanswered {
			return false
		}
	}
	return true
}

func (w *World) anyAnswered(s *State, i int) bool {
	for _, m := range s.wire[:s.wires] {
		if int(m.relay) == i && m.answer != unanswered {
			return true
		}
	}
	return false
}

// room reports whether the queue can take one more, if consumers return all that they
// hold. What they publish themselves always finds room.
func (w *World) room(s *State) bool {
	n := int(s.queued)
	for i := range w.cfg.Consumers {
		if s.consumers[i].phase != waitingForWork {
			n++
		}
	}
	return n < maxQueue-2*maxConsumers
}
