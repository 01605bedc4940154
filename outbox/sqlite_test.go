package outbox

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
)

// SQLite stores values of any type, so that CHECKs must refuse what PostgreSQL's types do.
func TestSQLiteSchemaConstraints(t *testing.T) {
	_, db := file.newOutbox(t)
	insert := func(column, value string) error {
		columns := map[string]string{"topic": "'t'", "type": "'T'", "payload": "''", "bucket": "0"}
		columns[column] = value
		if value == "" {
			delete(columns, column)
		}
		var names, values []string
		for name, value := range columns {
			names, values = append(names, name), append(values, value)
		}
		_, err := db.Exec(fmt.Sprintf(`INSERT INTO outbox_messages (%s) VALUES (%s)`, strings.Join(names, ", "), strings.Join(values, ", ")))
		return err
	}
	for _, c := range []struct{ column, value string }{
		{"id", "'018f3c3e-8f5a-7c6e-9d2b-1a2b3c4d5e6f'"}, {"bucket", "63"}, {"key", "'k'"}, {"headers", `'{"a": "b"}'`},
		{"available_at", "strftime('%Y-%m-%d %H:%M:%f000', 'now', '1 hour')"}, {"occurred_at", "'2024-02-29 23:59:59.999999'"},
	} {
		if err := insert(c.column, c.value); err != nil {
			t.Errorf("%s = %s: %v", c.column, c.value, err)
		}
	}
	for _, c := range []struct{ column, value string }{
		{"id", "'018F3C3E-8F5A-7C6E-9D2B-1A2B3C4D5E6F'"}, {"id", "'018f3c3e8f5a7c6e9d2b1a2b3c4d5e6f'"}, {"id", "'-18f3c3e-8f5a-7c6e-9d2b-1a2b3c4d5e6f'"},
		{"id", "x'018f3c3e8f5a7c6e9d2b1a2b3c4d5e6f'"}, {"id", "7"},
		{"bucket", ""}, {"bucket", "64"}, {"bucket", "-1"}, {"bucket", "'a'"}, {"bucket", "1.5"},
		{"headers", "'{'"}, {"headers", "'[]'"}, {"headers", "''"}, {"attempts", "'many'"},
		{"available_at", "'2026-01-01T00:00:00Z'"}, {"available_at", "'2026-01-01 00:00:00'"}, {"available_at", "'2026-02-30 00:00:00.000000'"},
		{"available_at", "'2026-01-01 00:00:00.000000+01:00'"}, {"available_at", "'soon'"}, {"available_at", "1767225600"},
		{"occurred_at", "'infinity'"}, {"created_at", "CURRENT_TIMESTAMP"}, {"created_at", "x'00'"},
	} {
		err := insert(c.column, c.value)
		if err == nil || !strings.Contains(err.Error(), "outbox_messages") || !strings.Contains(err.Error(), c.column) {
			t.Errorf("%s = %s: %v, want a refusal that names the column", c.column, c.value, err)
		}
	}
}

// Reads do not wait for a lock on writing.
func TestSQLiteReadsDoNotWaitForWriters(t *testing.T) {
	ob, db := file.newOutbox(t)
	head := put(t, ob, Message{Topic: "t", Key: "k"}, Dead, 1)
	relay := newRelay(t, ob, &broker{}, RelayConfig{})
	writer := db.MustBegin()
	defer writer.Rollback()
	writer.MustExec(`UPDATE outbox_messages SET attempts = 2`)

	ctx := t.Context()
	var rows []dueRow
	for name, err := range map[string]error{
		"List":        second(ob.List(ctx, ListQuery{})),
		"Get":         second(ob.Get(ctx, head)),
		"Stats":       second(ob.Stats(ctx)),
		"Relays":      second(ob.Relays(ctx)),
		"Migrations":  second(ob.Migrations(ctx)),
		"CheckSchema": ob.CheckSchema(ctx),
		"the sweep":   relay.query(ctx, &rows, "sweep_due", "", 0, "[]", 1),
		"a lane":      second(relay.lanes[0].query(ctx, []ask{{}}, 1, 1, nil, nil)),
	} {
		if err != nil {
			t.Errorf("%s beside a writer: %v", name, err)
		}
	}
	if _, _, err := ob.Count(ctx, ListQuery{}, 1); err != nil {
		t.Errorf("Count beside a writer: %v", err)
	}
	if r := get(t, ob, head); r.Attempts != 1 {
		t.Errorf("%d attempts: what is not committed was read", r.Attempts)
	}
}

// Take-over and write-back are serialised, and the second sees what the first did.
func TestRelaySQLiteFence(t *testing.T) {
	ob, db := file.newOutbox(t)
	m := keyed("k", 1)[0]
	enqueue(t, ob, m)
	s := newStage()
	relay := newRelay(t, ob, s, patient())
	start(t, relay)
	call := s.next(t)
	thief := db.MustBegin()
	defer thief.Rollback()
	thief.MustExec(steal(db))
	call.accept() // and the write-back waits
	if err := thief.Commit(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the verdict to be refused", func() bool { return relay.Health().Fenced == 1 })
	if got := record(t, ob, m).Status; got != Pending {
		t.Errorf("stored as %s", got)
	}
}

// An intervention waits for a write-back, and sees what it did.
func TestInterveneSQLiteWaitsForWriteBack(t *testing.T) {
	ob, db := file.newOutbox(t)
	id := put(t, ob, Message{Topic: "t", Key: "k"}, Pending, 1)
	relay := db.MustBegin()
	defer relay.Rollback()
	relay.MustExec(`UPDATE outbox_messages SET status = 'published', published_at = ` + clock(db, ""))
	result := make(chan error, 1)
	go func() { result <- second(ob.Discard(t.Context(), "test", id)) }()
	select {
	case err := <-result:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := relay.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, ErrStatus) {
		t.Errorf("%v, want ErrStatus: it was published meanwhile", err)
	}
}

// Numbers of deleted rows are not reused, or a cursor would skip new rows.
func TestSQLiteSeqIsNotReused(t *testing.T) {
	ob, db := file.newOutbox(t)
	last := record(t, ob, first(t, ob)).Seq
	db.MustExec(`DELETE FROM outbox_messages`)
	if err := inTx(t, ob, func(tx *sqlx.Tx) error { return ob.Enqueue(t.Context(), tx, Message{Topic: "gone"}) }); err != nil {
		t.Fatal(err)
	}
	if next := record(t, ob, first(t, ob)).Seq; next <= last {
		t.Errorf("seq %d after %d was deleted", next, last)
	}
}

// first enqueues a message and returns it.
func first(t *testing.T, ob *Outbox) Message {
	t.Helper()
	m := NewMessage("t", nil)
	enqueue(t, ob, m)
	return m
}
