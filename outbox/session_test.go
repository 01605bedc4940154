package outbox

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/jmoiron/sqlx/reflectx"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// withParameter returns a URL whose sessions begin with a setting.
func withParameter(t testing.TB, raw, name, value string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // not every driver reads a plus sign as a blank
	return u.String()
}

// Servers, databases and roles have settings of their own. Messages are
// stored, published, retried, swept, delayed, purged and listed alike, by each
// driver and in each way of sending statements.
func TestOutboxUnusualSettings(t *testing.T) {
	t.Parallel() // it waits
	server := postgres.create(t)
	admin := postgres.connect(t, server)
	if _, err := outboxOf(t, admin).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, setting := range [][2]string{
		{"default_transaction_isolation", "serializable"}, {"default_transaction_isolation", "repeatable read"},
		{"default_transaction_deferrable", "on"},
		{"bytea_output", "escape"}, {"DateStyle", "SQL, DMY"}, {"DateStyle", "German"}, {"TimeZone", "Asia/Kolkata"},
		{"IntervalStyle", "iso_8601"}, {"statement_timeout", "500ms"}, {"lock_timeout", "100ms"},
		{"idle_in_transaction_session_timeout", "300ms"}, {"idle_session_timeout", "300ms"},
		{"standard_conforming_strings", "off"}, {"plan_cache_mode", "force_generic_plan"}, {"row_security", "off"},
		{"enable_indexscan", "off"}, {"enable_bitmapscan", "off"}, {"enable_nestloop", "off"}, {"quote_all_identifiers", "on"},
		{"transform_null_equals", "on"}, {"extra_float_digits", "-15"}, {"search_path", "nowhere, public"},
	} {
		if number(t, admin, `SELECT count(*) FROM pg_settings WHERE lower(name) = lower('`+setting[0]+`')`) == 0 {
			t.Logf("this server has no %s", setting[0])
			continue
		}
		for _, way := range []struct{ driver, mode string }{{"pgx", ""}, {"pgx", "simple_protocol"}, {"pgx", "exec"}, {"postgres", ""}} {
			if setting[0] == "standard_conforming_strings" && way.mode == "simple_protocol" {
				continue // pgx refuses the service's own statements
			}
			t.Run(fmt.Sprintf("%s=%s/%s%s", setting[0], setting[1], way.driver, way.mode), func(t *testing.T) {
				address := withParameter(t, server, setting[0], setting[1])
				if way.mode != "" {
					address = withParameter(t, address, "default_query_exec_mode", way.mode)
				}
				db, err := sqlx.Open(way.driver, address)
				if err != nil {
					t.Fatal(err)
				}
				defer db.Close()
				db.SetMaxIdleConns(8)
				oddRound(t, db)
			})
		}
	}
}

func outboxOf(t testing.TB, db *sqlx.DB, opts ...Option) *Outbox {
	t.Helper()
	ob, err := New(db, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return ob
}

func oddRound(t *testing.T, db *sqlx.DB) {
	ob := outboxOf(t, db)
	whole := Message{
		ID: uuid.New(), Topic: "whole", Payload: []byte("\x00\xff\\x00'\\"), Headers: map[string]string{"h": `{"a": "\u0041"} ☃ \ '`},
		OccurredAt: time.Date(2024, 2, 29, 23, 59, 59, 123456000, time.UTC),
	}
	many := keyed("k", 3)
	for i := range many {
		many[i].Payload, many[i].Headers, many[i].OccurredAt = whole.Payload, whole.Headers, whole.OccurredAt
	}
	late := NewMessage("late", nil)
	late.AvailableAt = time.Now().Add(50 * time.Millisecond)
	refused := false
	b := &broker{judge: func(m Message) error {
		if m.Topic == "k.1" && !refused {
			refused = true
			return Rejected(nil)
		}
		return nil
	}}
	cfg := eager()
	cfg.Retention, cfg.PurgeInterval = time.Millisecond, 20*time.Millisecond
	relay := newRelay(t, ob, b, cfg)
	stop := start(t, relay)
	enqueue(t, ob, whole)
	enqueue(t, ob, append(many, late)...)
	eventually(t, "everything to be published", func() bool { return b.count() == 5 })
	b.mu.Lock()
	for _, m := range b.taken {
		if m.Topic != "late" && (string(m.Payload) != string(whole.Payload) || m.Headers["h"] != whole.Headers["h"] || !m.OccurredAt.Equal(whole.OccurredAt)) {
			t.Errorf("changed on its way: %+v", m)
		}
	}
	b.mu.Unlock()
	topics := slices.DeleteFunc(b.topics(), func(topic string) bool { return !strings.HasPrefix(topic, "k.") })
	wantTopics(t, topics, topicsOf("k", 3))
	if _, err := ob.List(t.Context(), ListQuery{Since: time.Now().Add(-time.Hour)}); err != nil {
		t.Errorf("list: %v", err)
	}
	if _, err := ob.Stats(t.Context()); err != nil {
		t.Errorf("stats: %v", err)
	}
	if relays, err := ob.Relays(t.Context()); err != nil || len(relays) != 1 {
		t.Errorf("relays: %v, %v", relays, err)
	}
	eventually(t, "everything to be purged", func() bool {
		n, _, err := ob.Count(t.Context(), ListQuery{}, 10)
		return err == nil && n == 0
	})
	if h := relay.Health(); h.State != RelayRunning {
		t.Errorf("%+v", h)
	}
	stop()
}

// A tenant's transaction has a search_path of its own, and perhaps tables of the
// same name: the message goes to the table that the relay reads.
func TestEnqueueOfTenants(t *testing.T) {
	ob, db := postgres.newOutbox(t)
	steps, err := Schema(PostgreSQL)
	if err != nil {
		t.Fatal(err)
	}
	db.MustExec(`CREATE SCHEMA bare; CREATE SCHEMA tenant; CREATE TABLE tenant.orders (id int)`)
	setUp := db.MustBegin()
	setUp.MustExec(`SET LOCAL search_path TO tenant`)
	for _, s := range steps {
		setUp.MustExec(s.SQL)
	}
	if err := setUp.Commit(); err != nil {
		t.Fatal(err)
	}
	b := &broker{}
	start(t, newRelay(t, ob, b, eager()))
	for i, fresh := range []*Outbox{ob, outboxOf(t, db), outboxOf(t, db, WithSchema("public"))} {
		for j, path := range []string{"bare", "tenant", "tenant, public"} {
			tx := db.MustBegin()
			defer tx.Rollback()
			tx.MustExec(`SET LOCAL search_path TO ` + path)
			if path != "bare" {
				tx.MustExec(`INSERT INTO orders VALUES (1)`)
			}
			if err := fresh.Enqueue(t.Context(), tx, NewMessage(path, nil)); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the message of "+path, func() bool { return b.count() == 3*i+j+1 })
		}
	}
	if n := number(t, db, `SELECT count(*) FROM tenant.outbox_messages`); n != 0 {
		t.Errorf("%d messages are where no relay looks", n)
	}
}

// Two outboxes share a database, each in its schema.
func TestWithSchema(t *testing.T) {
	db := postgres.connect(t, testenv.Postgres(t))
	db.MustExec(`CREATE SCHEMA "Orders"; CREATE SCHEMA billing`)
	var brokers []*broker
	for _, schema := range []string{"Orders", "billing"} {
		ob := outboxOf(t, db, WithSchema(schema))
		if applied, err := ob.Migrate(t.Context()); err != nil || len(applied) == 0 {
			t.Fatalf("%v, %v", applied, err)
		}
		b := &broker{}
		start(t, newRelay(t, ob, b, eager()))
		enqueue(t, ob, NewMessage(schema+".one", nil), NewMessage(schema+".two", nil))
		if s, err := ob.Stats(t.Context()); err != nil || s.Pending.N+s.Published.N != 2 {
			t.Errorf("%+v, %v", s, err)
		}
		brokers = append(brokers, b)
	}
	for i, schema := range []string{"Orders", "billing"} {
		eventually(t, "the messages of "+schema, func() bool { return brokers[i].count() == 2 })
		wantTopics(t, slices.Sorted(slices.Values(brokers[i].topics())), []string{schema + ".one", schema + ".two"})
	}
	if n := number(t, db, `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`); n != 0 {
		t.Errorf("%d tables in public", n)
	}
}

// The outbox reads its columns however a service's handle maps names.
func TestOutboxIgnoresMapper(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		m := NewMessage("t", []byte("p"))
		enqueue(t, ob, m)
		for _, mapper := range []*reflectx.Mapper{reflectx.NewMapperFunc("json", strings.ToLower), reflectx.NewMapperFunc("", strings.ToUpper)} {
			lent := sqlx.NewDb(db.DB, db.DriverName())
			lent.Mapper = mapper
			ob := outboxOf(t, lent)
			if r := record(t, ob, m); string(r.Payload) != "p" {
				t.Errorf("%+v", r)
			}
			if s, err := ob.Stats(t.Context()); err != nil || s.Pending.N != 1 {
				t.Errorf("%+v, %v", s, err)
			}
			if _, err := ob.Relays(t.Context()); err != nil {
				t.Error(err)
			}
			relay := newRelay(t, ob, &broker{judge: func(Message) error { return Rejected(nil) }}, eager())
			stop := start(t, relay)
			eventually(t, "some failures", func() bool { return record(t, ob, m).Attempts > 2 })
			stop()
			if _, err := ob.Retry(t.Context(), m.ID); err != nil {
				t.Error(err)
			}
			if _, err := ob.Purge(t.Context(), 0); err != nil {
				t.Error(err)
			}
		}
	})
}

// Drivers and servers cache the text of each statement: it does not depend on the
// values.
func TestOutboxSendsFewStatements(t *testing.T) {
	ob, db := postgres.newOutbox(t)
	db.SetMaxOpenConns(1) // on which pgx prepares what it sends
	for n := 1; n <= 60; n++ {
		msgs := make([]Message, n)
		for i := range msgs {
			msgs[i].Topic = "t"
		}
		enqueue(t, ob, msgs...)
	}
	for i := range 300 {
		q := ListQuery{Limit: 1 + i%7, OldestFirst: i%2 == 0, WithoutPayload: i%3 == 0, Retrying: i%5 == 0, After: int64(i % 4)}
		for j, s := range Statuses() {
			for range i >> j & 3 {
				q.Statuses = append(q.Statuses, s)
			}
		}
		for j, field := range []*string{&q.Topic, &q.Type, &q.Key, &q.CorrelationID, &q.ErrorContains} {
			if i>>j&1 == 1 {
				*field = fmt.Sprint(i)
			}
		}
		if i%6 < 3 {
			q.Since = time.Now().Add(-time.Duration(i) * time.Hour)
		}
		if i%9 < 4 {
			q.Until = time.Now().Add(time.Duration(i) * time.Hour)
		}
		if _, err := ob.List(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		if _, _, err := ob.Count(t.Context(), q, i+1); err != nil {
			t.Fatal(err)
		}
	}
	var texts []string
	if err := db.Select(&texts, `SELECT left(statement, 60) FROM pg_prepared_statements WHERE statement LIKE '%.outbox_messages%'`); err != nil {
		t.Fatal(err)
	}
	// Of Migrate; to store one message, or any number; to list in two orders; to count; this one.
	if len(texts) != 7 {
		t.Errorf("%d texts:\n%s", len(texts), strings.Join(texts, "\n"))
	}
}

// A page of large messages ends before it fills the memory.
func TestListIsBoundedByBytes(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		const size, n = 1 << 20, 20
		var want []uuid.UUID
		for range n {
			m := NewMessage("t", make([]byte, size))
			want = append(want, m.ID)
			enqueue(t, ob, m)
		}
		for _, oldest := range []bool{true, false} {
			var got []uuid.UUID
			pages := 0
			for q := (ListQuery{Limit: 100, OldestFirst: oldest}); ; pages++ {
				page, err := ob.List(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if len(page.Records)*size > listBytes {
					t.Errorf("a page of %d MB", len(page.Records))
				}
				for _, r := range page.Records {
					got = append(got, r.ID)
				}
				if q.After = page.Next; q.After == 0 {
					break
				}
			}
			if !oldest {
				slices.Reverse(got)
			}
			if !slices.Equal(got, want) || pages == 0 {
				t.Errorf("oldest first: %v: %d of %d messages on %d pages", oldest, len(got), n, pages+1)
			}
		}
		if page, err := ob.List(t.Context(), ListQuery{Limit: 100, WithoutPayload: true}); err != nil || len(page.Records) != n {
			t.Errorf("without payload: %d, %v", len(page.Records), err)
		}
	})
}
