package faults_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/outboxtest"
)

// F31: every method of both libraries that uses the database, through PgBouncer
// in transaction mode, which gives each transaction the next of two sessions.
// Others have left settings, locks and tables in these. A method that is added
// has to be called here, or named in withoutStatements.
func TestF31PoolerEveryMethod(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		driver   string
		settings []string // of PgBouncer
		params   url.Values
	}{
		"pgx":    {"pgx", nil, url.Values{"default_query_exec_mode": {"exec"}}},
		"lib pq": {"postgres", []string{forLibPQ}, url.Values{"binary_parameters": {"yes"}, "sslmode": {"disable"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct := testenv.Postgres(t)
			run(t, direct, `CREATE TABLE public.effects (event_id text NOT NULL)`)
			db := openPooled(t, c.driver, testenv.PgBouncer(t, direct, append(c.settings, "server_round_robin = 1")...), c.params)
			inSessions(t, db, func(session *sqlx.Tx) string { leaveState(t, session); return "" })
			look := func(session *sqlx.Tx) string { return sessionState(t, session) }
			var left string
			for _, left = range inSessions(t, db, look) {
			}
			p := newPooled(t, db)
			p.callAll()
			for what, called := range map[any][]string{
				(*outbox.Outbox)(nil): p.called["Outbox"], outbox.Operator{}: p.called["Operator"], (*outbox.Recorded)(nil): p.called["Recorded"],
				(*outbox.Tail)(nil): p.called["Tail"], (*outbox.Relay)(nil): p.called["Relay"], (*outbox.Relays)(nil): p.called["Relays"],
				(*inbox.Inbox)(nil): p.called["Inbox"], (*inbox.Consumer)(nil): p.called["Consumer"],
			} {
				kind := reflect.TypeOf(what)
				for i := range kind.NumMethod() {
					method := kind.Method(i).Name
					if full := strings.TrimPrefix(kind.String(), "*") + "." + method; !slices.Contains(called, method) && !slices.Contains(withoutStatements, full) {
						t.Errorf("%s was not called", full)
					}
				}
			}
			for pid, now := range inSessions(t, db, look) {
				if now != left && now != "" { // PgBouncer replaces a session whose client went in a transaction
					t.Errorf("session %d has %s; it had %s, or is a new one", pid, now, left)
				}
			}
		})
	}
}

// withoutStatements are the methods that use no database.
var withoutStatements = []string{
	"outbox.Outbox.Operator", "outbox.Outbox.Tail", "outbox.Relay.Health", "outbox.Relay.Wake", "outbox.Relays.Health",
	"outbox.Relays.Total", "outbox.Relays.Wake", "inbox.Inbox.Consumer", "inbox.Consumer.Health",
}

// pooled calls both libraries behind a pooler, and notes what it has called.
type pooled struct {
	t      *testing.T
	db     *sqlx.DB
	ob     *outbox.Outbox
	in     *inbox.Inbox
	called map[string][]string // methods by type
}

func newPooled(t *testing.T, db *sqlx.DB) *pooled {
	t.Helper()
	ob, err := outbox.New(db, outbox.WithSchema("public"))
	if err != nil {
		t.Fatal(err)
	}
	in, err := inbox.New(db, consumerName, inbox.WithSchema("public"))
	if err != nil {
		t.Fatal(err)
	}
	return &pooled{t: t, db: db, ob: ob, in: in, called: map[string][]string{}}
}

// call calls a method several times, so that it meets each session.
func (p *pooled) call(kind, method string, do func(ctx context.Context) error) {
	p.t.Helper()
	p.called[kind] = append(p.called[kind], method)
	for range repeats {
		if err := do(p.t.Context()); err != nil {
			p.t.Errorf("%s.%s: %v", kind, method, err)
			return
		}
	}
}

const repeats = 2

const brokenTopic, failingTopic = "order.broken", "order.failing" // a message that is dead at once, and one that is refused once

func (p *pooled) callAll() {
	p.t.Helper()
	p.called["Outbox"] = append(p.called["Outbox"], "Migrate")
	p.called["Inbox"] = append(p.called["Inbox"], "Migrate")
	migrateAtOnce(p.t, p.ob.Migrate)
	migrateAtOnce(p.t, p.in.Migrate)
	recorder := new(outboxtest.Recorder)
	recorder.Respond(func(m outbox.Message, try int) error {
		switch {
		case m.Topic == brokenTopic:
			return outbox.Permanent(errors.New("broken"))
		case m.Topic == failingTopic && try == 1:
			return outbox.Rejected(errors.New("refused"))
		}
		return nil
	})
	cfg := relayConfig()
	cfg.Logger, cfg.Retention, cfg.PurgeInterval = slog.New(slog.DiscardHandler), time.Hour, 50*time.Millisecond
	relay, err := outbox.NewRelay(p.ob, recorder, cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(p.t.Context())
	done := make(chan error, 1)
	go func() { done <- relay.Run(ctx) }()
	p.called["Relay"] = append(p.called["Relay"], "Run")
	events := p.enqueue(20)
	recorder.WaitFor(p.t, 40)
	p.operate()
	stop()
	if err := <-done; err != nil {
		p.t.Errorf("Relay.Run: %v", err)
	}
	p.drain(recorder)
	p.look(events)
	p.consume(events)
}

// enqueue commits n messages that are published, n that are refused first, and
// one that is dead.
func (p *pooled) enqueue(n int) (published []outbox.Message) {
	p.t.Helper()
	var rest []outbox.Message
	for i := range n {
		published = append(published, outbox.NewMessage("order.created", fmt.Appendf(nil, `{"n": %d}`, i)))
		rest = append(rest, outbox.NewMessage(failingTopic, nil))
	}
	rest = append(rest, outbox.NewMessage(brokenTopic, nil))
	for _, msgs := range [][]outbox.Message{published[:1], published[1:], rest} {
		p.store(msgs...)
	}
	return published
}

func (p *pooled) store(msgs ...outbox.Message) {
	p.t.Helper()
	p.called["Outbox"] = append(p.called["Outbox"], "Enqueue")
	tx := p.db.MustBegin()
	defer tx.Rollback()
	if err := p.ob.Enqueue(p.t.Context(), tx, msgs...); err != nil {
		p.t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		p.t.Fatal(err)
	}
}

// operate intervenes while the relay runs.
func (p *pooled) operate() {
	operator := p.ob.Operator("test", "to see whether it works")
	some := func(n int, err error) error {
		if err == nil && n == 0 {
			err = errors.New("nothing was changed")
		}
		return err
	}
	many := func(n int64, err error) error { return some(int(n), err) }
	dead := func() uuid.UUID {
		m := outbox.NewMessage(brokenTopic, nil)
		p.store(m)
		testenv.Eventually(p.t, patience, "the message to be dead", func() bool {
			r, err := p.ob.Get(p.t.Context(), m.ID)
			return err == nil && r.Status == outbox.Dead
		})
		return m.ID
	}
	for kind, calls := range map[string]struct {
		retry   func(context.Context, ...uuid.UUID) (int, error)
		discard func(context.Context, ...uuid.UUID) (int, error)
	}{
		"Outbox":   {p.ob.Retry, func(ctx context.Context, ids ...uuid.UUID) (int, error) { return p.ob.Discard(ctx, "why", ids...) }},
		"Operator": {operator.Retry, operator.Discard},
	} {
		p.call(kind, "Retry", func(ctx context.Context) error { return some(calls.retry(ctx, dead())) })
		p.call(kind, "Discard", func(ctx context.Context) error { return some(calls.discard(ctx, dead())) })
	}
	ofBroken := outbox.ListQuery{Topic: brokenTopic, Statuses: []outbox.Status{outbox.Dead}}
	p.call("Operator", "RetryMatching", func(ctx context.Context) error { dead(); return many(operator.RetryMatching(ctx, ofBroken, nil)) })
	p.call("Operator", "DiscardMatching", func(ctx context.Context) error { dead(); return many(operator.DiscardMatching(ctx, ofBroken, nil)) })
	p.call("Operator", "Pause", func(ctx context.Context) error { _, err := operator.Pause(ctx, failingTopic); return err })
	p.call("Outbox", "Pauses", func(ctx context.Context) error {
		paused, err := p.ob.Pauses(ctx)
		return some(len(paused), err)
	})
	p.call("Operator", "Resume", func(ctx context.Context) error { _, err := operator.Resume(ctx, failingTopic); return err })
	p.call("Operator", "Record", func(ctx context.Context) error {
		recorded, err := operator.Record(ctx, "replay", nil)
		if err != nil {
			return err
		}
		p.called["Recorded"] = []string{"Add"}
		return errors.Join(recorded.Add(ctx, "1"), recorded.Add(ctx, "2"))
	})
	p.call("Outbox", "Audit", func(ctx context.Context) error {
		page, err := p.ob.Audit(ctx, outbox.AuditQuery{})
		return some(len(page.Entries), err)
	})
	p.call("Outbox", "Relays", func(ctx context.Context) error {
		relays, err := p.ob.Relays(ctx)
		return some(len(relays), err)
	})
}

// drain publishes with relays that end.
func (p *pooled) drain(recorder *outboxtest.Recorder) {
	cfg := relayConfig()
	// A drain gives up when it could not work for a part of LeaseTTL, which on a busy machine means little.
	cfg.Logger, cfg.Retention, cfg.LeaseTTL = logger(p.t), outbox.DeleteOnPublish, patience
	one, err := outbox.NewRelay(p.ob, recorder, cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	several, err := outbox.NewRelays(map[string]*outbox.Outbox{"a": p.ob}, recorder, outbox.RelaysConfig{Relay: cfg})
	if err != nil {
		p.t.Fatal(err)
	}
	message := func() { p.store(outbox.NewMessage("order.drained", nil)) }
	p.call("Relay", "Drain", func(ctx context.Context) error {
		message()
		drained, err := one.Drain(ctx)
		if err == nil && drained.Published == 0 {
			err = errors.New("nothing was published")
		}
		return err
	})
	p.call("Relays", "Drain", func(ctx context.Context) error { message(); _, err := several.Drain(ctx); return err })
	p.called["Relays"] = append(p.called["Relays"], "Run")
	ctx, stop := context.WithCancel(p.t.Context())
	done := make(chan error, 1)
	go func() { done <- several.Run(ctx) }()
	published := several.Total().Published
	message()
	testenv.Eventually(p.t, patience, "a message to be published", func() bool { return several.Total().Published > published })
	stop()
	if err := <-done; err != nil {
		p.t.Errorf("Relays.Run: %v", err)
	}
}

// look reads what tools and operators read.
func (p *pooled) look(events []outbox.Message) {
	ob, in := p.ob, p.in
	p.call("Outbox", "List", func(ctx context.Context) error {
		page, err := ob.List(ctx, outbox.ListQuery{Topic: "order.created"})
		if err == nil && len(page.Records) != len(events) {
			err = fmt.Errorf("%d records, want %d", len(page.Records), len(events))
		}
		return err
	})
	p.call("Outbox", "Get", func(ctx context.Context) error { _, err := ob.Get(ctx, events[0].ID); return err })
	p.call("Outbox", "Count", func(ctx context.Context) error { _, _, err := ob.Count(ctx, outbox.ListQuery{}, 10); return err })
	p.call("Outbox", "Stats", func(ctx context.Context) error { _, err := ob.Stats(ctx); return err })
	p.call("Outbox", "CheckSchema", ob.CheckSchema)
	p.call("Outbox", "CheckReady", ob.CheckReady)
	p.call("Outbox", "Migrations", func(ctx context.Context) error { _, err := ob.Migrations(ctx); return err })
	p.call("Outbox", "Purgeable", func(ctx context.Context) error { _, err := ob.Purgeable(ctx, time.Hour); return err })
	p.call("Outbox", "Purge", func(ctx context.Context) error { _, err := ob.Purge(ctx, time.Hour); return err })
	p.call("Operator", "Purge", func(ctx context.Context) error {
		_, err := ob.Operator("test", "why").Purge(ctx, time.Hour, nil)
		return err
	})
	tail := ob.Tail(outbox.ListQuery{})
	p.call("Tail", "Begin", func(ctx context.Context) error { _, err := tail.Begin(ctx, 10); return err })
	p.call("Tail", "Next", func(ctx context.Context) error { _, _, err := tail.Next(ctx); return err })
	id := events[0].ID.String()
	p.call("Inbox", "CheckSchema", in.CheckSchema)
	p.call("Inbox", "CheckReady", in.CheckReady)
	p.call("Inbox", "Migrations", func(ctx context.Context) error { _, err := in.Migrations(ctx); return err })
	p.call("Inbox", "Consumers", func(ctx context.Context) error { _, err := in.Consumers(ctx); return err })
	p.call("Inbox", "Count", func(ctx context.Context) error { _, _, err := in.Count(ctx, inbox.ListQuery{}, 10); return err })
	p.call("Inbox", "List", func(ctx context.Context) error { _, err := in.List(ctx, inbox.ListQuery{}); return err })
	p.call("Inbox", "Stats", func(ctx context.Context) error { _, err := in.Stats(ctx); return err })
	p.call("Inbox", "Purge", func(ctx context.Context) error { _, err := in.Purge(ctx, time.Hour); return err })
	p.call("Inbox", "Sightings", func(ctx context.Context) error { _, err := in.Sightings(ctx, id); return err })
	p.call("Inbox", "Get", func(ctx context.Context) error {
		if _, err := in.Get(ctx, id); err != nil && !errors.Is(err, inbox.ErrNotFound) {
			return err
		}
		return nil
	})
	p.call("Inbox", "Applied", func(ctx context.Context) error { _, err := in.Applied(ctx, []string{id}); return err })
}
