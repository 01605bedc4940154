package outbox

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// steal takes every lease as another relay would whose clock says that they
// have run out.
func steal(db *sqlx.DB) string {
	take := `UPDATE outbox_leases SET owner = 'thief', ttl = 3600000, token = token + 1, expires_at = ` + clock(db, "1 hour")
	if dialectOf(db) == sqldb.PostgreSQL {
		take += ` WHERE bucket IN (SELECT bucket FROM outbox_leases ORDER BY bucket FOR UPDATE)`
	}
	return take
}

// sharing are settings under which relays that come and go are noticed soon.
func sharing(owner string) RelayConfig {
	cfg := eager()
	cfg.Owner, cfg.LeaseTTL = owner, 2*time.Second
	return cfg
}

func awaitLeases(t *testing.T, want map[*Relay]int) {
	t.Helper()
	eventually(t, "fair shares", func() bool {
		for relay, n := range want {
			if relay.Health().Leases != n {
				return false
			}
		}
		return true
	})
}

// Relays join and leave under load: shares are fair each time, nothing is
// published twice, and keys keep their order.
func TestRelaysShareTheWork(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		b := &broker{}
		sent := 0
		load := func() {
			backlog(t, db, 200, 40)
			sent += 200
		}
		a, second, c := newRelay(t, ob, b, sharing("a")), newRelay(t, ob, b, sharing("b")), newRelay(t, ob, b, sharing("c"))
		load()
		start(t, a)
		awaitLeases(t, map[*Relay]int{a: 64})
		load()
		stopSecond := start(t, second)
		load()
		awaitLeases(t, map[*Relay]int{a: 32, second: 32})
		start(t, c)
		load()
		awaitLeases(t, map[*Relay]int{a: 22, second: 21, c: 21})
		relays, err := ob.Relays(t.Context())
		if err != nil || len(relays) != 3 {
			t.Fatalf("%d relays, %v", len(relays), err)
		}
		var held []int
		for i, r := range relays {
			held = append(held, r.Buckets...)
			if r.Owner != string("abc"[i]) || r.Host != hostname() || !r.Live || r.StartedAt.IsZero() || !r.ExpiresAt.After(r.StartedAt) {
				t.Errorf("relay %+v", r)
			}
		}
		slices.Sort(held)
		if len(held) != buckets || len(slices.Compact(held)) != buckets {
			t.Errorf("leases held: %v", held)
		}
		load()
		stopSecond()
		load()
		awaitLeases(t, map[*Relay]int{a: 32, c: 32})
		eventually(t, "everything to be published", func() bool {
			return number(t, db, `SELECT count(*) FROM outbox_messages WHERE status = 'published'`) == sent
		})
		if got := b.count(); got != sent {
			t.Errorf("%d messages were sent for %d rows", got, sent)
		}
		inOrder(t, b.taken)
		if a.Health().Published == 0 || second.Health().Published == 0 || c.Health().Published == 0 {
			t.Error("a relay did nothing")
		}
		if fenced := a.Health().Fenced + second.Health().Fenced + c.Health().Fenced; fenced != 0 {
			t.Errorf("%d verdicts were refused", fenced)
		}
	})
}

// A relay that died keeps its share until its leases have run out, and no longer.
func TestRelayTakesLeasesOfADeadRelay(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		db.MustExec(`INSERT INTO outbox_relays (owner, host, ttl, expires_at) VALUES ('dead', 'h', 3600000, ` + clock(db, "1 hour") + `)`)
		db.MustExec(`UPDATE outbox_leases SET owner = 'dead', token = 7, ttl = 3600000, expires_at = ` + clock(db, "1 hour"))
		m := NewMessage("m", nil)
		enqueue(t, ob, m)
		relay := newRelay(t, ob, &broker{}, sharing("z"))
		start(t, relay)
		db.MustExec(`UPDATE outbox_leases SET expires_at = ` + clock(db, "") + ` WHERE bucket < 40`)
		awaitLeases(t, map[*Relay]int{relay: 32})
		db.MustExec(`UPDATE outbox_leases SET expires_at = ` + clock(db, "") + ` WHERE owner = 'dead'`)
		db.MustExec(`UPDATE outbox_relays SET expires_at = ` + clock(db, "") + ` WHERE owner = 'dead'`)
		awaitLeases(t, map[*Relay]int{relay: 64})
		awaitStatus(t, ob, Published, m)
		if n := number(t, db, `SELECT count(*) FROM outbox_leases WHERE token = 7`); n != 0 {
			t.Errorf("%d leases have no new token", n)
		}
		relays, err := ob.Relays(t.Context())
		if err != nil || len(relays) != 2 || relays[0].Live || len(relays[0].Buckets) != 0 || !relays[1].Live {
			t.Errorf("relays %+v, %v", relays, err)
		}
	})
}

func TestShareAddsUp(t *testing.T) {
	for relays := 1; relays <= 70; relays++ {
		sum := 0
		for before := range relays {
			n := share(relays, before)
			if n < buckets/relays || n > buckets/relays+1 {
				t.Errorf("relay %d of %d has %d buckets", before, relays, n)
			}
			sum += n
		}
		if sum != buckets {
			t.Errorf("%d relays have %d buckets", relays, sum)
		}
	}
}

// A relay whose leases went away while it published stores nothing, and
// publishes nothing more from those buckets.
func TestFenceRefusesVerdictsOfALostLease(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		for _, c := range []struct {
			name   string
			answer func(*call)
			keep   time.Duration
		}{
			{"that published", (*call).accept, 0},
			{"that was refused", func(c *call) { c.refuse(Rejected(nil)) }, 0},
			{"that deletes", (*call).accept, DeleteOnPublish},
		} {
			t.Run(c.name, func(t *testing.T) {
				ob, db := d.newOutbox(t)
				m := NewMessage("m", nil)
				enqueue(t, ob, m)
				s := newStage()
				cfg := sharing("zombie")
				cfg.LeaseTTL, cfg.Retention = 500*time.Millisecond, c.keep
				relay := newRelay(t, ob, s, cfg)
				start(t, relay)
				call := s.next(t)
				db.MustExec(steal(db))
				c.answer(call)
				eventually(t, "the verdict to be refused", func() bool { return relay.Health().Fenced == 1 })
				awaitLeases(t, map[*Relay]int{relay: 0})
				if r := record(t, ob, m); r.Status != Pending || r.Attempts != 0 {
					t.Errorf("stored as %+v", r)
				}
				select {
				case <-s.calls:
					t.Error("something was published after the leases were lost")
				default:
				}
				db.MustExec(`UPDATE outbox_leases SET expires_at = ` + clock(db, ""))
				s.next(t).accept()
				eventually(t, "it to be published once the leases are back", func() bool { return relay.Health().Published == 1 })
			})
		}
	})
}

// The take-over and the write-back meet: whichever has the lease's lock first
// goes first, and the other sees what it did. With a comparison of tokens
// alone, the write-back would go on after waiting for a row.
func TestFenceHoldsDuringATakeOver(t *testing.T) {
	t.Run("take-over first", func(t *testing.T) {
		ob, db := postgres.newOutbox(t)
		m := keyed("k", 1)[0]
		enqueue(t, ob, m)
		s := newStage()
		relay := newRelay(t, ob, s, patient())
		start(t, relay)
		call := s.next(t)
		thief := db.MustBegin()
		defer thief.Rollback()
		thief.MustExec(steal(db))
		call.accept()
		awaitWaiting(t, db, "FOR KEY SHARE")
		if err := thief.Commit(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the verdict to be refused", func() bool { return relay.Health().Fenced == 1 })
		if got := record(t, ob, m).Status; got != Pending {
			t.Errorf("stored as %s", got)
		}
	})
	t.Run("write-back first", func(t *testing.T) {
		ob, db := postgres.newOutbox(t)
		m := keyed("k", 1)[0]
		enqueue(t, ob, m)
		s := newStage()
		relay := newRelay(t, ob, s, patient())
		start(t, relay)
		call := s.next(t)
		row := db.MustBegin()
		defer row.Rollback()
		row.MustExec(`SELECT 1 FROM outbox_messages FOR UPDATE`)
		call.accept()
		awaitWaiting(t, db, "FOR KEY SHARE")
		stolen := make(chan error, 1)
		go func() {
			_, err := db.Exec(steal(db))
			stolen <- err
		}()
		awaitWaiting(t, db, "thief")
		if err := row.Rollback(); err != nil {
			t.Fatal(err)
		}
		if err := <-stolen; err != nil {
			t.Fatal(err)
		}
		if got := record(t, ob, m).Status; got != Published {
			t.Errorf("the take-over went through while the row was %s", got)
		}
	})
}

// awaitWaiting returns once a statement that contains text waits for a lock.
func awaitWaiting(t *testing.T, db *sqlx.DB, text string) {
	t.Helper()
	testenv.Eventually(t, patience, fmt.Sprintf("%q to wait for a lock", text), func() bool {
		return number(t, db, `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'`, text) > 0
	})
}

// Another relay joins while the only lane publishes: not one bucket moves
// before the verdicts are stored.
func TestRelayReleasesBucketsWithNothingInFlight(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		m := NewMessage("m", nil)
		enqueue(t, ob, m)
		s := newStage()
		cfg := sharing("a")
		cfg.Lanes = 1
		busy := newRelay(t, ob, s, cfg)
		start(t, busy)
		call := s.next(t)
		b := &broker{}
		joining := newRelay(t, ob, b, sharing("b"))
		start(t, joining)
		leaving := func() (n int) {
			for _, b := range busy.lanes[0].reaches() {
				if b.leaving {
					n++
				}
			}
			return n
		}
		eventually(t, "half of the buckets to be wanted back", func() bool { return leaving() == 32 })
		if n := joining.Health().Leases; n != 0 {
			t.Errorf("%d buckets moved while a message was in flight", n)
		}
		if n := number(t, db, `SELECT count(*) FROM outbox_leases WHERE owner = 'a' AND expires_at > `+clock(db, "")); n != buckets {
			t.Errorf("%d leases are held while a message is in flight", n)
		}
		call.accept()
		awaitLeases(t, map[*Relay]int{busy: 32, joining: 32})
		awaitStatus(t, ob, Published, m)
		if b.count() != 0 {
			t.Error("published twice")
		}
	})
}

// What a relay was to publish when its process was stopped for longer than its
// leases lasted is left alone when it goes on.
func TestRelayDoesNotUseAnExpiredLease(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		relay := newRelay(t, ob, &broker{}, patient())
		l := lease{Bucket: 3, Token: 1}
		relay.leases.own[3] = &ownLease{lease: l, lane: relay.lanes[0], until: time.Now().Add(time.Hour)}
		relay.lanes[0].add(l)
		if !relay.leases.valid(l) || relay.leases.valid(lease{Bucket: 3, Token: 2}) || relay.leases.valid(lease{Bucket: 4, Token: 1}) {
			t.Error("valid is not what is held")
		}
		if n := len(relay.lanes[0].asks()); n != 1 {
			t.Errorf("%d buckets are read", n)
		}
		relay.leases.own[3].until = time.Now()
		if n := len(relay.lanes[0].asks()); n != 0 {
			t.Errorf("%d buckets are read after the lease ran out", n)
		}
		p := page{rows: []*outgoing{{bucket: 3}}, spans: map[int]span{3: {lease: l}}}
		sent := relay.lanes[0].publish(t.Context(), t.Context(), plan{p, make([]fate, 1)})
		if sent.outcomes[0].handed {
			t.Error("a message was sent after the lease ran out")
		}
	})
}

// What people look at says since when, which version, and who is gone.
func TestRelaysTellOfThemselves(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		cfg := eager()
		cfg.Owner = "new"
		start(t, newRelay(t, ob, &broker{}, cfg))
		var seen RelayStatus
		eventually(t, "the relay to hold all buckets", func() bool {
			all, err := ob.Relays(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(all) == 1 {
				seen = all[0]
			}
			return len(seen.Buckets) == buckets
		})
		now := databaseClock(t, ob)
		recent := func(at time.Time) bool { return now.Sub(at).Abs() < time.Minute }
		if !seen.Live || seen.Silent || seen.Version != libraryVersion() || !recent(seen.SignedAt) || !recent(seen.HeldSince) || seen.HeldSince.Before(seen.StartedAt) {
			t.Errorf("%+v", seen)
		}
		// One of a former version writes less, and has taken a lease that says since when
		// another held it; one was killed.
		db.MustExec(`INSERT INTO outbox_relays (owner, host, ttl, sign, producer, expires_at) VALUES ('former', 'h', 20000, 1, '', ` + clock(db, "20 seconds") + `)`)
		db.MustExec(`INSERT INTO outbox_relays (owner, host, ttl, sign, producer, version, signed_at, expires_at)
			VALUES ('killed', 'h', 20000, 1, '', 'v1', ` + clock(db, "-40 seconds") + `, ` + clock(db, "-20 seconds") + `)`)
		db.MustExec(`UPDATE outbox_leases SET owner = 'former', token = 7, expires_at = ` + clock(db, "20 seconds") + ` WHERE bucket = 3`)
		all, err := ob.Relays(t.Context())
		if err != nil || len(all) != 3 {
			t.Fatalf("%+v, %v", all, err)
		}
		if former := all[0]; former.Version != "" || !former.HeldSince.IsZero() || !recent(former.SignedAt) || former.Silent || !slices.Equal(former.Buckets, []int{3}) {
			t.Errorf("%+v", former)
		}
		if killed := all[1]; killed.Live || !killed.Silent || killed.Version != "v1" {
			t.Errorf("%+v", killed)
		}
	})
}
