package roles_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/outboxtest"
	"github.com/asimalizada/pulse-events/outbox/postgres"
	"github.com/asimalizada/pulse-events/outbox/roles"
)

// rig is a database with the tables of both libraries, and the roles.
type rig struct {
	t     *testing.T
	admin string
	names roles.Names
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, admin: testenv.Postgres(t), names: roles.Names{Prefix: "test_" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12], Schema: "public"}}
	if err := r.names.Check(); err != nil {
		t.Fatal(err)
	}
	db := r.open(r.admin)
	ob, err := outbox.New(db)
	if err != nil {
		t.Fatal(err)
	}
	in, err := inbox.New(db, "notifications")
	if err != nil {
		t.Fatal(err)
	}
	_, err = ob.Migrate(t.Context())
	_, inErr := in.Migrate(t.Context())
	if err := errors.Join(err, inErr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, role := range []string{"producer", "relay", "operator", "readonly", "consumer"} {
			name := r.names.Prefix + "_" + role
			db.MustExec("DROP OWNED BY " + name + "; DROP ROLE " + name)
		}
	})
	forOutbox, err := roles.Outbox(r.names)
	forInbox, inErr := roles.Inbox(r.names)
	if err := errors.Join(err, inErr); err != nil {
		t.Fatal(err)
	}
	for range 2 { // again changes nothing
		db.MustExec(forOutbox)
		db.MustExec(forInbox)
	}
	return r
}

func (r *rig) open(url string) *sqlx.DB {
	r.t.Helper()
	db, err := postgres.Open(postgres.Config{URL: url})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { db.Close() })
	return db
}

// as opens the database as a login that has nothing but the role.
func (r *rig) as(role string) *sqlx.DB {
	r.t.Helper()
	u := testenv.NewPostgresUser(r.t, r.admin)
	u.Exec("REVOKE ALL ON SCHEMA public FROM " + u.Name() + "; GRANT " + r.names.Prefix + "_" + role + " TO " + u.Name())
	return r.open(u.URL())
}

func (r *rig) outbox(db *sqlx.DB) *outbox.Outbox {
	r.t.Helper()
	ob, err := outbox.New(db)
	if err == nil {
		err = ob.CheckSchema(r.t.Context())
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return ob
}

// refused checks that a role may not do these.
func (r *rig) refused(db *sqlx.DB, statements ...string) {
	r.t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(r.t.Context(), s); sqldb.SQLState(err) != "42501" {
			r.t.Errorf("%s: %v, want to be refused", s, err)
		}
	}
}

func (r *rig) enqueue(db *sqlx.DB, topic string) uuid.UUID {
	r.t.Helper()
	ob := r.outbox(db)
	tx, err := db.BeginTxx(r.t.Context(), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer tx.Rollback()
	msg := outbox.NewMessage(topic, []byte(`{}`))
	msg.Key = "k"
	if err := ob.Enqueue(r.t.Context(), tx, msg); err != nil {
		r.t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		r.t.Fatal(err)
	}
	return msg.ID
}

// Every part works under its role alone, and can do no more.
func TestOutboxRoles(t *testing.T) {
	r := newRig(t)
	producer, relayDB, operator, readonly := r.as("producer"), r.as("relay"), r.as("operator"), r.as("readonly")
	good, bad, gone := r.enqueue(producer, "good"), r.enqueue(producer, "bad"), r.enqueue(producer, "gone")
	r.refused(producer, `SELECT payload FROM outbox_messages`, `UPDATE outbox_messages SET topic = 'x'`, `DELETE FROM outbox_messages`,
		`INSERT INTO outbox_messages (topic, type, payload, status) VALUES ('t', 't', '', 'published')`, `SELECT * FROM outbox_leases`, `DELETE FROM outbox_schema`)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var publisher outboxtest.Recorder
	publisher.Respond(func(m outbox.Message, _ int) error {
		if m.Topic != "good" {
			return outbox.Permanent(errors.New("refused"))
		}
		return nil
	})
	ob := r.outbox(relayDB)
	relay, err := outbox.NewRelay(ob, &publisher, outbox.RelayConfig{Producer: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := relay.Drain(ctx); err != nil {
		t.Logf("drain: %v", err) // the dead messages
	}
	looks := r.outbox(readonly)
	for id, want := range map[uuid.UUID]outbox.Status{good: outbox.Published, bad: outbox.Dead} {
		if rec, err := looks.Get(ctx, id); err != nil || rec.Status != want {
			t.Errorf("%s: %s, %v; want %s; relay %+v", rec.Topic, rec.Status, err, want, relay.Health())
		}
	}
	r.refused(relayDB, `DELETE FROM outbox_audit`, `INSERT INTO outbox_pauses (topic, actor, reason) VALUES ('t', 'a', 'r')`, `DELETE FROM outbox_schema`)

	acts := r.outbox(operator)
	by := acts.Operator("alice", "test")
	if n, err := by.Retry(ctx, bad); err != nil || n != 1 {
		t.Errorf("retry: %d, %v", n, err)
	}
	if n, err := by.Discard(ctx, gone); err != nil || n != 1 {
		t.Errorf("discard: %d, %v", n, err)
	}
	if _, err := by.Purge(ctx, time.Nanosecond, nil); err != nil {
		t.Errorf("purge: %v", err)
	}
	if _, err := by.Pause(ctx, "good"); err != nil {
		t.Errorf("pause: %v", err)
	}
	if _, err := by.Resume(ctx, "good"); err != nil {
		t.Errorf("resume: %v", err)
	}
	r.refused(operator, `DELETE FROM outbox_audit`, `UPDATE outbox_audit SET actor = 'bob'`, `DELETE FROM outbox_leases`,
		`INSERT INTO outbox_messages (topic, type, payload) VALUES ('t', 't', '')`)

	_, listErr := looks.List(ctx, outbox.ListQuery{})
	_, statsErr := looks.Stats(ctx)
	audit, auditErr := looks.Audit(ctx, outbox.AuditQuery{})
	_, relaysErr := looks.Relays(ctx)
	_, pausesErr := looks.Pauses(ctx)
	_, stepsErr := looks.Migrations(ctx)
	if err := errors.Join(listErr, statsErr, auditErr, relaysErr, pausesErr, stepsErr); err != nil || len(audit.Entries) != 5 {
		t.Errorf("read: %v, %+v", err, audit)
	}
	r.refused(readonly, `DELETE FROM outbox_messages`, `UPDATE outbox_messages SET attempts = 0`, `INSERT INTO outbox_audit (actor, action) VALUES ('a', 'b')`, `UPDATE outbox_leases SET token = 1`)
}

func TestInboxRoles(t *testing.T) {
	r := newRig(t)
	consumerDB, operator, readonly := r.as("consumer"), r.as("operator"), r.as("readonly")
	inboxOf := func(db *sqlx.DB) *inbox.Inbox {
		in, err := inbox.New(db, "notifications")
		if err == nil {
			err = in.CheckSchema(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	in := inboxOf(consumerDB)
	queue := inboxtest.NewQueue()
	failed := false
	handler := func(context.Context, inbox.Tx, inbox.Message) error {
		if !failed {
			failed = true
			return errors.New("once")
		}
		return nil
	}
	var logs strings.Builder
	consumer, err := inbox.NewConsumer(in, queue, handler, inbox.ConsumerConfig{Logger: slog.New(slog.NewTextHandler(&logs, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- consumer.Run(ctx) }()
	queue.Publish(inbox.Message{ID: uuid.NewString(), Topic: "t", Type: "T", Payload: []byte(`{}`)}, inbox.Message{ID: uuid.NewString(), Topic: "t", Type: "T", Payload: []byte(`{}`)})
	queue.WaitFor(t, "the retry", func() bool { queue.EndDelays(); return len(queue.Acked()) == 2 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := in.Purge(t.Context(), 240*time.Hour); err != nil || strings.Contains(logs.String(), "permission denied") {
		t.Errorf("purge: %v; logs:\n%s", err, &logs)
	}
	r.refused(consumerDB, `UPDATE processed_events SET topic = 'x'`, `DELETE FROM inbox_schema`, `SELECT * FROM outbox_messages`)

	looks := inboxOf(readonly)
	page, listErr := looks.List(t.Context(), inbox.ListQuery{})
	_, statsErr := looks.Stats(t.Context())
	_, instancesErr := looks.Instances(t.Context())
	if err := errors.Join(listErr, statsErr, instancesErr); err != nil || len(page.Records) != 2 {
		t.Errorf("read: %d, %v", len(page.Records), err)
	}
	r.refused(readonly, `DELETE FROM processed_events`, `INSERT INTO inbox_attempts (consumer, event_id, started) VALUES ('c', 'e', 1)`)
	if _, err := inboxOf(operator).Purge(t.Context(), 240*time.Hour); err != nil {
		t.Errorf("purge: %v", err)
	}
	r.refused(operator, `UPDATE processed_events SET topic = 'x'`, `INSERT INTO processed_events (consumer, event_id, topic, type, payload_hash) VALUES ('c', 'e', 't', 't', '')`)
}
