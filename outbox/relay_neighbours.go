package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// sighting is the state of leases and relays as the lease manager has read it.
type sighting struct {
	Now    int64       `json:"now"` // the database's clock, in microseconds
	Sign   int64       `json:"sign"`
	Leases []leaseRow  `json:"leases"`
	Relays []neighbour `json:"relays"` // others, alive by the database's clock
	Rivals []string    `json:"rivals"` // other services for which relays would publish from this outbox
	Pauses []pauseRow  `json:"pauses"`
}

// leaseRow is a lease as the database has it.
type leaseRow struct {
	lease
	Owner    string `json:"owner"`
	TTL      int64  `json:"ttl"` // in milliseconds
	Stamp    string `json:"stamp"`
	Free     bool   `json:"free"`     // by the database's clock
	Producer string `json:"producer"` // of bucket 0: whose outbox it is
	Proven   bool   `json:"proven"`   // and that service has published
}

// neighbour is another relay.
type neighbour struct {
	Owner string `json:"owner"`
	TTL   int64  `json:"ttl"`
	Stamp string `json:"stamp"`
}

// seenLease is a lease that may be taken, as it was read.
type seenLease struct {
	lease
	Stamp string `json:"stamp"`
}

// observation is a row as it was first seen. What does not change for as long
// as it was meant to hold is over, by this process's monotonic clock: the
// database's may have been set back.
type observation struct {
	stamp string
	since time.Time
}

// observer remembers when rows were seen to change.
type observer map[string]observation

// unchanged reports whether a row has stayed as it is for ttl milliseconds.
func (o observer) unchanged(key, stamp string, ttl int64, now time.Time) bool {
	seen, known := o[key]
	if !known || seen.stamp != stamp {
		o[key] = observation{stamp, now}
		return false
	}
	return now.Sub(seen.since) >= time.Duration(ttl)*time.Millisecond
}

// prune forgets everything when most of it is about relays that have gone.
func (o observer) prune(s sighting) {
	if len(o) > 2*(buckets+len(s.Relays)) {
		clear(o)
	}
}

// look reads leases and relays, and sees to it that there are leases, that the
// database is the one it was, and that the outbox is this service's.
func (m *leaseManager) look(ctx context.Context) (sighting, error) {
	sent := time.Now()
	s, err := m.read(ctx)
	if err == nil {
		s, err = m.makeLeases(ctx, s)
	}
	if err != nil {
		return s, fmt.Errorf("look for leases and other relays: %w", err)
	}
	m.relay.lookAtPauses(ctx, s.Pauses, sent)
	m.watchClock(ctx, s.Now, time.Now())
	if !m.signs.current(s.Sign) {
		m.relay.startOver(ctx, m.relay.generations.now(), m.strangeSign(), true)
		m.signs.adopt(s.Sign)
		m.renewed = time.Time{}
	}
	if err := m.checkProducer(ctx, s); err != nil {
		return s, errors.Join(err, m.signOff(ctx))
	}
	return s, nil
}

func (m *leaseManager) read(ctx context.Context) (s sighting, err error) {
	var text string
	err = m.relay.read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Get(ctx, &text, "lease_check", m.relay.cfg.Owner, m.relay.cfg.Producer)
	})
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(text), &s)
}

// makeLeases makes the rows of leases that are missing, and looks again.
func (m *leaseManager) makeLeases(ctx context.Context, s sighting) (sighting, error) {
	missing := buckets - len(s.Leases)
	if missing <= 0 {
		return s, nil
	}
	if err := m.relay.exec(ctx, "lease_make"); err != nil {
		return s, fmt.Errorf("%d of %d rows of outbox_leases are missing, and cannot be made again: %w", missing, buckets, err)
	}
	s, err := m.read(ctx)
	if err != nil {
		return s, err
	}
	if len(s.Leases) < buckets {
		return s, fmt.Errorf("only %d of %d rows of outbox_leases can be seen: %w", len(s.Leases), buckets, errHidden)
	}
	m.relay.log.WarnContext(ctx, "rows of outbox_leases were missing and have been created again; something deletes rows of that table", "rows", missing)
	return s, nil
}

// others returns how many other relays share the buckets, and how many of
// them come before this one by name.
func (m *leaseManager) others(s sighting, now time.Time) (others, before int) {
	for _, n := range s.Relays {
		if m.observed.unchanged("relay "+n.Owner, n.Stamp, n.TTL, now) {
			continue
		}
		others++
		if n.Owner < m.relay.cfg.Owner {
			before++
		}
	}
	return others, before
}

// free returns the leases that nobody holds, as they were seen: run out by the
// database's clock, or not renewed for longer than they last, of which there are
// as many as stale says. Where that clock was just set ahead, it does not count.
func (m *leaseManager) free(s sighting, now time.Time) (free []seenLease, stale int) {
	for _, row := range s.Leases {
		if m.holds(row.lease) {
			continue
		}
		unchanged := m.observed.unchanged(fmt.Sprint("bucket ", row.Bucket), fmt.Sprint(row.Token, " ", row.Stamp), row.TTL, now)
		leapt := row.Owner != "" && now.Sub(m.leapt) < time.Duration(row.TTL)*time.Millisecond
		if row.Free && !leapt || unchanged {
			free = append(free, seenLease{row.lease, row.Stamp})
		}
		if !row.Free && unchanged {
			stale++
		}
	}
	return free, stale
}

func (m *leaseManager) holds(l lease) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.own[l.Bucket]
	return h != nil && h.Token == l.Token
}

// newToken is random, so that a database that has gone back gives out no token
// twice.
func newToken() int64 { return 1 + rand.Int64N(1<<62) }

// clockSlack is by how much the database's clock may differ from ours between
// two looks without a word.
const clockSlack = 2 * time.Second

// watchClock says when the database's clock was set.
func (m *leaseManager) watchClock(ctx context.Context, micros int64, now time.Time) {
	before, at := m.clock, m.clockAt
	m.clock, m.clockAt = micros, now
	if at.IsZero() {
		return
	}
	step := time.Duration(micros-before)*time.Microsecond - now.Sub(at)
	switch {
	case step < -clockSlack:
		m.relay.log.WarnContext(ctx, "the database's clock was set back; times from before are not waited for", "by", -step)
	case step > clockSlack:
		m.leapt = now
		m.relay.log.WarnContext(ctx, "the database's clock was set ahead", "by", step)
	}
}
