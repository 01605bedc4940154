package outbox

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// as returns a handle on the same database under a new role, which has all
// rights on the tables but those that take says.
func as(t *testing.T, url, take string) *sqlx.DB {
	t.Helper()
	admin, db := postgres.connect(t, url), postgres.connect(t, url)
	role := "relay_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	admin.MustExec(`CREATE ROLE ` + role)
	t.Cleanup(func() { admin.MustExec(`DROP OWNED BY ` + role); admin.MustExec(`DROP ROLE ` + role) })
	admin.MustExec(`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ` + role)
	if take != "" {
		admin.MustExec(strings.ReplaceAll(take, "ROLE", role))
	}
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	var conns []*sqlx.Conn
	for range 8 {
		conn, err := db.Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.ExecContext(t.Context(), `SET ROLE `+role); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		conn.Close()
	}
	return db
}

// A relay that can do nothing says so, and why: rights that are missing, rows
// that policies hide or keep as they are, a schema of another version, a server
// that takes no writes.
func TestRelayReportsWhatPreventsItsWork(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, take, want string }{
		{"no rows of leases, and no right to make them", `DELETE FROM outbox_leases; REVOKE INSERT ON outbox_leases FROM ROLE`,
			"64 of 64 rows of outbox_leases are missing, and cannot be made again"},
		{"policies hide leases", `ALTER TABLE outbox_leases ENABLE ROW LEVEL SECURITY`, "row-level security may hide rows of outbox_leases"},
		{"policies hide messages from relays", `ALTER TABLE outbox_messages ENABLE ROW LEVEL SECURITY;
			CREATE POLICY enqueue ON outbox_messages FOR INSERT WITH CHECK (true)`, "row-level security may hide rows of outbox_messages"},
		{"policies keep messages as they are", `ALTER TABLE outbox_messages ENABLE ROW LEVEL SECURITY;
			CREATE POLICY enqueue ON outbox_messages FOR INSERT WITH CHECK (true); CREATE POLICY see ON outbox_messages FOR SELECT USING (true)`,
			"row-level security may hide rows of outbox_messages"},
		{"policies hide pauses", `ALTER TABLE outbox_pauses ENABLE ROW LEVEL SECURITY`, "row-level security may hide rows of outbox_pauses"},
		{"no right to write", `REVOKE UPDATE ON outbox_leases FROM ROLE`, "permission denied"},
		{"no right to see signs of life", `REVOKE ALL ON outbox_relays FROM ROLE`, "permission denied"},
		{"an older schema", `DELETE FROM outbox_schema WHERE version > 1`, "schema missing or behind"},
		{"no schema", `DROP TABLE outbox_schema, outbox_messages, outbox_leases, outbox_relays`, "schema missing or behind"},
		{"a server that takes no writes", ``, "read-only transaction"},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := postgres.create(t)
			if _, err := outboxOf(t, postgres.connect(t, url)).Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			db := postgres.connect(t, withParameter(t, url, "default_transaction_read_only", "on"))
			if c.take != "" {
				db = as(t, url, c.take)
			}
			relay := newRelay(t, outboxOf(t, db), &broker{}, sharing("a"))
			start(t, relay)
			eventually(t, "the relay to say what is wrong", func() bool {
				h := relay.Health()
				return h.State == RelayDegraded && h.LastError != nil && strings.Contains(h.LastError.Error(), c.want) && !h.Since.IsZero()
			})
		})
	}
}

// Others hold every connection that the pool may have: health names the pool.
func TestRelayReportsAStarvedPool(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		db.SetMaxOpenConns(2)
		var held []*sqlx.Conn
		for range 2 {
			conn, err := db.Connx(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			held = append(held, conn)
		}
		relay := newRelay(t, ob, &broker{}, sharing("a"))
		start(t, relay)
		eventually(t, "the pool to be named", func() bool {
			return strings.Contains(fmt.Sprint(relay.Health().LastError), "all 2 that the pool may have (SetMaxOpenConns) are in use")
		})
		for _, conn := range held {
			conn.Close()
		}
		eventually(t, "the relay to recover", func() bool { h := relay.Health(); return h.State == RelayRunning && h.Leases == 64 })
	})
}

// A policy that lets everything through keeps nobody from working.
func TestRelayAcceptsPoliciesThatHideNothing(t *testing.T) {
	t.Parallel()
	url := postgres.create(t)
	ob, _ := postgres.newOutboxAt(t, url)
	db := as(t, url, `ALTER TABLE outbox_messages ENABLE ROW LEVEL SECURITY; ALTER TABLE outbox_leases ENABLE ROW LEVEL SECURITY;
		CREATE POLICY relay ON outbox_messages FOR ALL TO ROLE USING (true);
		CREATE POLICY relay_reads ON outbox_leases FOR SELECT USING (true);
		CREATE POLICY relay_writes ON outbox_leases FOR UPDATE TO ROLE USING (true);
		CREATE POLICY relay_deletes ON outbox_leases FOR DELETE TO ROLE USING (true)`)
	relay := newRelay(t, outboxOf(t, db), &broker{}, sharing("a"))
	start(t, relay)
	m := NewMessage("m", nil)
	enqueue(t, ob, m)
	awaitStatus(t, ob, Published, m)
}

// Two services on one outbox: the first that publishes owns it, the other
// takes nothing and says why, and is not left a share. Who renames a service
// says so in the database.
func TestRelayRefusesTheOutboxOfAnotherService(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		orders, billing := &broker{}, &broker{}
		cfg := sharing("z")
		cfg.Producer = "orders"
		first := newRelay(t, ob, orders, cfg)
		start(t, first)
		awaitLeases(t, map[*Relay]int{first: 64})
		msgs := topical("m", 100)
		enqueue(t, ob, msgs[:1]...)
		eventually(t, "the outbox to be that of orders for good", func() bool {
			return number(t, db, `SELECT count(*) FROM outbox_leases WHERE producer = 'orders' AND proven`) == 1
		})
		cfg.Owner = "a"
		second := newRelay(t, ob, named{billing, "billing"}, func() RelayConfig { c := cfg; c.Producer = ""; return c }())
		start(t, second)
		eventually(t, "the other to be refused", func() bool {
			h := second.Health()
			return h.State == RelayDegraded && errors.Is(h.LastError, ErrProducer) &&
				strings.Contains(h.LastError.Error(), `"orders"`) && strings.Contains(h.LastError.Error(), `"billing"`)
		})
		enqueue(t, ob, msgs[1:]...)
		awaitStatus(t, ob, Published, msgs...)
		if n := billing.count(); n != 0 || orders.count() != 100 {
			t.Errorf("%d and %d messages, want all in the hands of orders", orders.count(), n)
		}
		if h := first.Health(); h.Leases != 64 || h.State != RelayRunning {
			t.Errorf("the owner: %+v", h)
		}
		// A relay that names nobody takes its share, as before.
		cfg.Owner, cfg.Producer = "nameless", ""
		third := newRelay(t, ob, orders, cfg)
		stop := start(t, third)
		awaitLeases(t, map[*Relay]int{first: 32, third: 32})
		stop()
		// The service is renamed.
		db.MustExec(`UPDATE outbox_leases SET producer = 'billing' WHERE bucket = 0`)
		awaitLeases(t, map[*Relay]int{first: 0, second: 64})
		eventually(t, "who was the owner to be refused", func() bool {
			h := first.Health()
			return h.State == RelayDegraded && errors.Is(h.LastError, ErrProducer)
		})
	})
}

// Two services start at once on an outbox from which nothing was published: none
// sends the other's messages. When one has gone, the outbox is the other's.
func TestRelayRefusesAnOutboxThatTwoServicesClaim(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		orders, billing := &broker{}, &broker{}
		first := newRelay(t, ob, named{orders, "orders"}, sharing("z"))
		second := newRelay(t, ob, named{billing, "billing"}, sharing("a"))
		stop := start(t, first)
		start(t, second)
		for _, relay := range []*Relay{first, second} {
			eventually(t, "both to be refused", func() bool {
				h := relay.Health()
				return h.State == RelayDegraded && h.Leases == 0 && errors.Is(h.LastError, ErrProducer)
			})
		}
		msgs := topical("m", 50)
		enqueue(t, ob, msgs...)
		stop()
		awaitStatus(t, ob, Published, msgs...)
		if orders.count() != 0 || billing.count() != 50 {
			t.Errorf("%d and %d messages, want all in the hands of billing", orders.count(), billing.count())
		}
		eventually(t, "the other to be well", func() bool { return second.Health().State == RelayRunning })
	})
}

// named is a publisher that says whom it publishes for.
type named struct {
	Publisher
	name string
}

func (n named) Producer() string { return n.name }
