package model

import "github.com/asimalizada/pulse-events/internal/cursor"

// mayRead reports whether a lane has a bucket to read: one whose lease is its own as far
// as the relay can know.
func (w *World) mayRead(r *relay) bool {
	for b := range w.cfg.Buckets {
		if r.buckets[b].token != 0 && r.own[b] == (ownLease{r.buckets[b].token, true}) {
			return true
		}
	}
	return false
}

// ask begins a read (lane.asks).
func (w *World) ask(s *State, i int) {
	r := &s.relays[i]
	r.phase, r.asked, r.asks = asked, s.now, [maxBuckets]ask{}
	r.taken, r.strays = r.strays, 0
	for b := range w.cfg.Buckets {
		if own := &r.buckets[b]; own.token != 0 && r.own[b] == (ownLease{own.token, true}) {
			r.asks[b] = ask{own.token, int8(own.position.Cursor), own.interventions}
		}
	}
	r.fresh = w.laneFresh(s, &r.asks)
}

// look is the database's part of a read.
func (w *World) look(s *State, i int) {
	r := &s.relays[i]
	r.phase, r.page = answered, page{}
	w.laneRead(s, &r.asks, r.taken, w.horizons.top(r.horizon), &r.page)
	r.taken = 0
}

// receive is what a lane makes of the answer to a read (lane.query, locate, measure).
func (w *World) receive(s *State, i int) {
	r := &s.relays[i]
	p := &r.page
	done := w.horizons.look(look{r.horizon, p.snapshot, r.asked, s.now})
	r.horizon, p.view = done.horizon, done.view
	asks := r.asks
	r.asks = [maxBuckets]ask{}
	stale := false
	counted, number := 0, 0
	for b, a := range asks {
		if a.token != 0 {
			number++
		}
		own := &r.buckets[b]
		if a.token == 0 || p.held[b] == 0 || own.token != a.token {
			for seq := p.rows.next(0); seq != 0; seq = p.rows.next(seq) {
				if int(s.rows[seq].bucket) == b {
					p.rows.remove(seq) // a real lane keeps them, and does not send them
				}
			}
			continue
		}
		if interventions := p.held[b] - 1; own.interventions != interventions && !w.cfg.Rules.NoInterventions {
			own.interventions, own.position.Cursor, a.cursor = interventions, 0, 0
		}
		next, back := own.position.Look(p.view)
		if w.cfg.Rules.NoWayBack {
			next.Cursor, back = own.position.Cursor, false
		}
		own.position, stale = next, stale || back
		p.spans[b] = span{token: a.token, from: a.cursor}
		counted++
	}
	w.measure(s, p, number)
	w.addFresh(s, r, &asks)
	if stale || counted == 0 {
		r.phase, r.page = idle, page{}
		return
	}
	p.held, p.snapshot = [maxBuckets]int8{}, 0
	r.phase = sending
	if p.rows == 0 {
		w.advance(s, i, 0)
	}
}

// addFresh adds rows that were found ahead, where the read has not found them as well and
// nobody has intervened in between (news.apart).
func (w *World) addFresh(s *State, r *relay, asks *[maxBuckets]ask) {
	p := &r.page
	if w.cfg.Rules.FreshAfterRead {
		r.fresh = w.laneFresh(s, asks)
	}
	for seq := r.fresh.next(0); seq != 0; seq = r.fresh.next(seq) {
		row := &s.rows[seq]
		if b := row.bucket; p.rows.has(seq) || p.spans[b].token == 0 || p.held[b]-1 != asks[b].interventions {
			continue
		}
		p.rows.add(seq)
		p.fresh.add(seq)
		p.attempts[seq] = row.attempts
		if w.horizons.old(row.created, s.now) {
			p.old.add(seq)
		}
	}
	r.fresh = 0
}

// measure notes which buckets were read to their end.
func (w *World) measure(s *State, p *page, asked int) {
	limit := w.batchSize()
	perBucket := max(1, limit/min(4, max(1, asked)))
	var counts [maxBuckets]int
	ahead := 0
	for seq := p.rows.next(0); seq != 0; seq = p.rows.next(seq) {
		if b := s.rows[seq].bucket; seq > p.spans[b].from {
			counts[b]++
			ahead++
		}
	}
	for b := range p.spans {
		p.spans[b].end = ahead < limit && counts[b] < perBucket
	}
}

// send hands the next wave to the publisher: at most one message of a key in each
// (waves, lane.sendable). Where there is none, the verdicts are stored.
func (w *World) send(s *State, i int) {
	r := &s.relays[i]
	p := &r.page
	for {
		wave, last := w.wave(s, p)
		if last {
			w.endTurn(s, i)
			return
		}
		p.wave++
		sent := false
		for seq := wave.next(0); seq != 0; seq = wave.next(seq) {
			key, b := s.rows[seq].key, s.rows[seq].bucket
			switch span := p.spans[b]; {
			case key != 0 && p.stopped&(1<<key) != 0:
				if p.blocked&(1<<key) != 0 {
					p.behind.add(seq)
				}
			case r.own[b] != ownLease{span.token, true}:
				w.stop(p, key, false)
			default:
				s.wire[s.wires] = onWire{relay: int8(i), seq: seq}
				s.wires++
				sent = true
			}
		}
		if sent {
			r.phase = waiting
			return
		}
	}
}

// wave returns the rows of the page's next wave.
func (w *World) wave(s *State, p *page) (wave set, last bool) {
	if w.cfg.Rules.NoWaves {
		return p.rows, p.wave > 0
	}
	var depths [maxMessages + 1]int8 // by key
	for seq := p.rows.next(0); seq != 0; seq = p.rows.next(seq) {
		key := s.rows[seq].key
		if depths[key]/int8(max(1, w.cfg.KeyWindow)) == p.wave {
			wave.add(seq)
		}
		if key != 0 {
			depths[key]++
		}
	}
	return wave, wave == 0
}

// stop sends nothing more of a key in this turn. stored: a failure that is stored holds
// it back from then on.
func (w *World) stop(p *page, key int8, stored bool) {
	if key == 0 || w.cfg.Rules.NoStops {
		return
	}
	p.stopped |= 1 << key
	p.blocked &^= 1 << key
	if stored {
		p.blocked |= 1 << key
	}
}

// verdicts is what Publish returns: heard says which answers have arrived. A message
// without one ends the turn (lane.call, lane.explain).
func (w *World) verdicts(s *State, i int, heard bool) {
	r := &s.relays[i]
	p := &r.page
	unheard := false
	for _, m := range s.orphans(i) {
		given := m.answer
		if !heard {
			given = unanswered
		}
		key := s.rows[m.seq].key
		switch {
		case given == ack, given == returned && w.cfg.Rules.ReturnIsConfirm:
			p.published.add(m.seq)
		case given == unanswered && !w.cfg.Rules.OutageIsRefusal:
			unheard = true
			w.stop(p, key, false)
		default:
			if most := w.cfg.MaxAttempts; most > 0 && int(p.attempts[m.seq])+1 >= most {
				p.dead.add(m.seq)
			} else {
				p.failed.add(m.seq)
			}
			w.stop(p, key, true)
		}
	}
	r.phase = sending
	if unheard {
		w.endTurn(s, i)
	}
}

// endTurn stores the verdicts, if there are any.
func (w *World) endTurn(s *State, i int) {
	r := &s.relays[i]
	if r.page.verdicts() == 0 {
		w.advance(s, i, 0)
		return
	}
	r.phase = storing
}

// written is the commit of a write-back. Where told is false the relay does not learn
// of it, and tries again (lane.store).
func (w *World) written(s *State, i int, told bool) *Violation {
	r := &s.relays[i]
	p := &r.page
	before := *p
	if w.cfg.OwnNumbers && s.nextID < 60 { // a snapshot has room for 63
		s.ended = s.nextID
		s.nextID++
	}
	kept := w.mark(s, p)
	if v := w.checkStored(s, i, &before); v != nil {
		return v
	}
	if !told {
		r.phase, p.locked, p.retried = storing, 0, true
		return nil
	}
	w.advance(s, i, kept)
	return nil
}

// advance moves the cursors (lane.advance).
func (w *World) advance(s *State, i int, kept set) {
	r := &s.relays[i]
	p := &r.page
	for b, span := range p.spans {
		own := &r.buckets[b]
		if span.token == 0 || own.token != span.token {
			continue
		}
		var rows [maxMessages]cursor.Row
		n := 0
		for seq := p.rows.next(0); seq != 0; seq = p.rows.next(seq) {
			if int(s.rows[seq].bucket) == b && (!p.fresh.has(seq) || w.cfg.Rules.FreshMovesCursor) {
				old := p.old.has(seq) || w.cfg.Rules.NoGrace
				rows[n] = cursor.Row{Seq: int64(seq), Done: kept.has(seq) || p.behind.has(seq), Old: old}
				n++
			}
		}
		own.position = own.position.Pass(int64(span.from), rows[:n], span.end, p.view)
	}
	for seq := p.rows.next(0); seq != 0; seq = p.rows.next(seq) {
		row := &s.rows[seq]
		own := &r.buckets[row.bucket]
		told := kept.has(seq) || p.retried && !w.cfg.Rules.RewindIfToldOnly
		if p.attempts[seq] > 0 && row.key != 0 && told && p.published.has(seq) && own.token != 0 && !w.cfg.Rules.NoRewind {
			own.position = own.position.Rewind(int64(seq))
		}
	}
	r.phase, r.page = idle, page{}
}
