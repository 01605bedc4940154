package model

import "slices"

// World takes steps from state to state. It is not safe for concurrent use.
type World struct {
	cfg      Config
	horizons *horizons
}

// NewWorld returns a world and its first state.
func NewWorld(cfg Config) (*World, State) {
	w := &World{cfg: cfg, horizons: newHorizons(cfg.FineTime)}
	const first = 10 // transactions have ended before
	s := State{nextID: first, ended: first - 1}
	for i := range cfg.Relays {
		s.relays[i].up = true
	}
	for i := range cfg.Consumers {
		s.consumers[i].up = true
	}
	for b := range cfg.Buckets {
		s.leases[b].free = true
	}
	for _, c := range cfg.Queue {
		s.enqueue(c)
	}
	for k := range kinds {
		s.left[k] = -1
		if most, bounded := cfg.Most[k]; bounded {
			s.left[k] = int8(most)
		} else if slices.Contains(faults, k) {
			s.left[k] = 0
		}
	}
	return w, s
}

// apply takes a step that is possible.
func (w *World) apply(s *State, a Action) *Violation {
	if s.left[a.Kind] > 0 {
		s.left[a.Kind]--
	}
	who, what := int(a.Who), int(a.What)
	switch a.Kind {
	case Insert, Number:
		w.number(s, who)
		if a.Kind == Number {
			break
		}
		fallthrough
	case Write:
		s.write(&s.transactions[who])
		s.transactions[who].stage = inserted
	case Commit, Rollback:
		w.end(s, who, a.Kind == Commit)
	case Retry, Discard:
		w.intervene(s, a.What, a.Kind == Discard)
	case Tick:
		s.now++
	case Accept:
		return w.accept(s, what)
	case Return:
		w.refuse(s, what, returned)
	case Nack:
		w.refuse(s, what, nack)
	case Vanish:
		s.forget(what)
	case Replay, Forge:
		body := int8(1)
		if a.Kind == Forge {
			body = 2
		}
		s.enqueue(Copy{Seq: a.What, Body: body})
	default:
		if a.Kind >= Deliver {
			return w.applyConsumer(s, a.Kind, who)
		}
		return w.applyRelay(s, a.Kind, who, what)
	}
	return nil
}

func (w *World) applyRelay(s *State, k Kind, i, b int) *Violation {
	r := &s.relays[i]
	switch k {
	case Expire:
		w.expire(s, b)
	case Leap:
		s.leases[b].free = true
	case Renew:
		w.renew(s, i)
	case Take:
		w.take(s, i, b)
	case Release:
		w.release(s, i, b)
	case Sweep, FullSweep:
		w.sweep(s, r, k == FullSweep)
	case Due:
		w.due(s, r)
	case Read:
		w.ask(s, i)
		w.look(s, i)
		w.receive(s, i)
	case Ask:
		w.ask(s, i)
	case Look:
		w.look(s, i)
	case Receive:
		w.receive(s, i)
	case Send:
		w.send(s, i)
	case Confirm:
		w.verdicts(s, i, true)
	case Cut, CutLate:
		w.verdicts(s, i, k == CutLate)
	case Store:
		r.phase = stored
		w.lock(s, &r.page)
	case Written, ReplyLost:
		if w.cfg.Rules.NoFence {
			w.lock(s, &r.page)
		}
		return w.written(s, i, k == Written)
	case Abort:
		r.phase, r.page.locked = storing, 0
	case Crash:
		w.crash(s, i)
	case Start:
		r.up = true
	}
	return nil
}

func (w *World) applyConsumer(s *State, k Kind, i int) *Violation {
	c := &s.consumers[i]
	switch k {
	case Deliver:
		c.copy, c.phase = s.dequeue(), delivered
	case Claim:
		w.claim(s, i)
	case CommitEffect, CommitUnheard:
		return w.commitEffect(s, i, k == CommitEffect)
	case Fail:
		w.fail(s, i)
	case Locked:
		c.phase = toPostpone
	case Repeat:
		w.repeat(s, i)
	case Ack:
		return w.acknowledge(s, i)
	case CutConsumer:
		w.cutConsumer(s, i)
	case CrashConsumer:
		w.crashConsumer(s, i)
	case StartConsumer:
		c.up = true
	}
	return nil
}
