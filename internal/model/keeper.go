package model

// renew is lease_renew.sql, and leaseManager.confirm: leases that are still the relay's
// last again, even expired ones; the others it drops.
func (w *World) renew(s *State, i int) {
	r := &s.relays[i]
	for b := range w.cfg.Buckets {
		own, l := &r.own[b], &s.leases[b]
		switch {
		case own.token == 0:
		case own.token == l.token:
			own.valid, l.free = true, false
		default:
			if r.buckets[b].token == own.token {
				w.drop(r, b)
			}
			*own = ownLease{}
		}
	}
}

// take is lease_take.sql: a new token fences whoever had the lease before.
func (w *World) take(s *State, i, b int) {
	r := &s.relays[i]
	if r.own[b].token != 0 {
		w.drop(r, b)
	}
	s.tokens++
	s.leases[b].token, s.leases[b].free = s.tokens, false
	r.own[b] = ownLease{s.tokens, true}
	r.buckets[b] = bucket{token: s.tokens, interventions: -1}
}

// drop takes a bucket from the lane (lane.drop).
func (w *World) drop(r *relay, b int) { r.buckets[b] = bucket{} }

// release gives a bucket up while nothing is in flight for it (lane.returnLeaving,
// lease_give_up.sql).
func (w *World) release(s *State, i, b int) {
	r := &s.relays[i]
	w.drop(r, b)
	r.own[b] = ownLease{}
	s.leases[b].free = true
}

// sweep is one round of Relay.sweep: it offers ready rows between floor and cursor, and
// lets the floor rise to the first row that is pending or may still appear.
func (w *World) sweep(s *State, r *relay, full bool) {
	for b := range w.cfg.Buckets {
		own := &r.buckets[b]
		if own.token == 0 {
			continue
		}
		if full {
			own.floor = 0
		}
		rise := min(int8(own.position.Safe), int8(own.position.Cursor))
		for seq := own.floor + 1; seq <= min(int8(own.position.Cursor), s.given); seq++ {
			row := &s.rows[seq]
			if int(row.bucket) != b || row.status != pending {
				continue
			}
			rise = min(rise, seq-1)
			if s.ready(seq) {
				r.strays.add(seq)
			}
		}
		own.floor = max(own.floor, rise)
	}
}

// due offers retries whose moment has come (Relay.due, sweep_due.sql).
func (w *World) due(s *State, r *relay) {
	for seq := int8(1); seq <= s.given; seq++ {
		if row := &s.rows[seq]; r.own[row.bucket].token != 0 && r.buckets[row.bucket].token != 0 && s.waited(seq) {
			r.strays.add(seq)
		}
	}
}

// crash ends a relay's process. What it has sent may still arrive; a write-back that is
// not committed is rolled back, at the latest when the server notices.
func (w *World) crash(s *State, i int) {
	s.orphans(i)
	s.relays[i] = relay{}
}

// expire lets a lease run out. A relay's own deadline passes before that of the
// database (ownLease.until).
func (w *World) expire(s *State, b int) {
	l := &s.leases[b]
	l.free = true
	for i := range w.cfg.Relays {
		if own := &s.relays[i].own[b]; own.token == l.token {
			own.valid = false
		}
	}
}
