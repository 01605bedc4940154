package model

func (t Transaction) messages() int { return max(1, t.Messages) }

// keyLocked reports whether a transaction that is open has locked the aggregate of key.
func (w *World) keyLocked(s *State, key int) bool {
	for i, t := range w.cfg.Transactions {
		if stage := s.transactions[i].stage; key != 0 && t.Key == key && (stage == numbered || stage == inserted) {
			return true
		}
	}
	return false
}

// write gives a transaction its number, which it has from its first write on. To lock a
// row is one.
func (s *State) write(t *transaction) {
	if t.id == 0 {
		t.id = s.nextID
		s.nextID++
	}
}

// number takes seqs for the messages of a transaction, from a sequence that never goes
// back (enqueue.sql; created_at and available_at are of this moment).
func (w *World) number(s *State, i int) {
	t, spec := &s.transactions[i], w.cfg.Transactions[i]
	if spec.Key != 0 {
		s.write(t) // by locking the aggregate
	}
	t.stage, t.first = numbered, s.given+1
	for range spec.messages() {
		s.given++
		s.rows[s.given] = row{key: int8(spec.Key), bucket: int8(spec.Bucket), created: s.now, due: s.now}
	}
}

// end commits or rolls back.
func (w *World) end(s *State, i int, commits bool) {
	t := &s.transactions[i]
	s.ended = max(s.ended, t.id)
	t.stage = rolledBack
	if !commits {
		return
	}
	t.stage = committed
	for n := range w.cfg.Transactions[i].messages() {
		s.rows[t.first+int8(n)].status = pending
	}
}

// blocked reports whether a failed message holds back its key before seq: the NOT EXISTS
// of lane_read.sql, sweep_page.sql and sweep_due.sql.
func (s *State) blocked(seq int8) bool {
	key := s.rows[seq].key
	if key == 0 {
		return false
	}
	for head := int8(1); head < seq; head++ {
		if r := &s.rows[head]; r.key == key && (r.status == pending || r.status == dead) && r.attempts > 0 {
			return true
		}
	}
	return false
}

// ready reports whether a row may be sent now.
func (s *State) ready(seq int8) bool {
	r := &s.rows[seq]
	return r.status == pending && r.due <= s.now && !s.blocked(seq)
}

// waited reports whether a row waited for its moment, which has come: those of
// sweep_due.sql.
func (s *State) waited(seq int8) bool {
	return (s.rows[seq].attempts > 0 || s.rows[seq].retried) && s.ready(seq)
}

// locked reports whether a write-back holds a lock on a lease (FOR KEY SHARE in
// mark_published.sql and mark_failed.sql). Taking it, and interventions, wait for that.
func (w *World) locked(s *State, bucket int) bool {
	if w.cfg.Rules.NoFence || w.cfg.Rules.FenceWithoutLock {
		return false
	}
	for i := range w.cfg.Relays {
		if r := &s.relays[i]; r.phase == stored && r.page.locked&(1<<bucket) != 0 {
			return true
		}
	}
	return false
}

// see is the snapshot of a statement; top is the highest seq known before.
func (w *World) see(s *State, top int8) int32 {
	at := seen{ended: s.ended, next: s.nextID, top: top}
	for i := range w.cfg.Transactions {
		t := &s.transactions[i]
		if t.id != 0 && t.id <= s.ended && (t.stage == numbered || t.stage == inserted) {
			at.running |= 1 << t.id
		}
	}
	for seq := s.given; seq > top; seq-- {
		if s.rows[seq].status != absent {
			at.top = seq
			break
		}
	}
	return w.horizons.snapshot(at)
}

// laneRead is lane_read.sql: it fills the page with rows and with what the frame tells.
func (w *World) laneRead(s *State, asks *[maxBuckets]ask, strays set, top int8, p *page) {
	p.snapshot = w.see(s, top)
	asked := 0
	for _, a := range asks {
		if a.token != 0 {
			asked++
		}
	}
	limit := w.batchSize()
	perBucket := max(1, limit/min(4, max(1, asked)))
	ahead := 0
	for b, a := range asks {
		if a.token == 0 || s.leases[b].token != a.token {
			continue
		}
		interventions := s.leases[b].interventions
		p.held[b] = interventions + 1
		if a.interventions != interventions && !w.cfg.Rules.NoInterventions {
			a.cursor = 0
		}
		found := 0
		for seq := int8(1); seq <= s.given; seq++ {
			if int(s.rows[seq].bucket) != b || !s.ready(seq) {
				continue
			}
			if seq > a.cursor {
				if found == perBucket || ahead == limit {
					continue
				}
				found++
				ahead++
			} else if !strays.has(seq) {
				continue
			}
			p.rows.add(seq)
			p.attempts[seq] = s.rows[seq].attempts
			if w.horizons.old(s.rows[seq].created, s.now) {
				p.old.add(seq)
			}
		}
	}
}

// laneFresh is lane_fresh.sql: the newest row of each bucket, if nothing of its key is
// pending between the cursor and it.
func (w *World) laneFresh(s *State, asks *[maxBuckets]ask) (found set) {
	if !w.cfg.Fresh {
		return 0
	}
	for b, a := range asks {
		if a.token == 0 || s.leases[b].token != a.token || s.leases[b].interventions != a.interventions {
			continue
		}
		newest := s.given
		for newest > a.cursor && (int(s.rows[newest].bucket) != b || !s.ready(newest)) {
			newest--
		}
		if newest <= a.cursor {
			continue
		}
		free := true
		for seq := a.cursor + 1; seq < newest; seq++ {
			r := &s.rows[seq]
			free = free && (r.status != pending || r.key == 0 || r.key != s.rows[newest].key)
		}
		if free || w.cfg.Rules.FreshUnchecked {
			found.add(newest)
		}
	}
	return found
}

func (w *World) batchSize() int {
	if w.cfg.BatchSize > 0 {
		return w.cfg.BatchSize
	}
	return 1000
}

// lock is the first half of mark_published.sql and mark_failed.sql: the leases of a page
// that are the relay's still.
func (w *World) lock(s *State, p *page) {
	p.locked = 0
	for b, span := range p.spans {
		for seq := p.verdicts().next(0); seq != 0; seq = p.verdicts().next(seq) {
			if int(s.rows[seq].bucket) == b && (s.leases[b].token == span.token || w.cfg.Rules.NoFence) {
				p.locked |= 1 << b
			}
		}
	}
}

// mark is the second half; it returns the rows whose verdicts it has stored.
func (w *World) mark(s *State, p *page) (kept set) {
	for seq := p.verdicts().next(0); seq != 0; seq = p.verdicts().next(seq) {
		r := &s.rows[seq]
		if r.status != pending || p.locked&(1<<r.bucket) == 0 {
			continue
		}
		if p.published.has(seq) {
			r.status = published
			kept.add(seq)
			continue
		}
		if r.attempts > p.attempts[seq] && !w.cfg.Rules.AttemptsCountTwice {
			continue // stored by an earlier try
		}
		r.attempts++
		r.due = s.now + 1
		if p.dead.has(seq) {
			r.status = dead
		}
		kept.add(seq)
	}
	return kept
}

// intervene is retry.sql or discard.sql, and intervene_buckets.sql.
func (w *World) intervene(s *State, seq int8, discards bool) {
	r := &s.rows[seq]
	s.leases[r.bucket].interventions++
	if discards {
		r.status = discarded
		return
	}
	r.status, r.attempts, r.due, r.retried = pending, 0, s.now, true
}
