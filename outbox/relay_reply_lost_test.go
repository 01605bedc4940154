package outbox

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// forgetful is a database whose answer to one COMMIT is lost, after it was carried out:
// that of the next transaction with a statement that contains a text.
type forgetful struct {
	driver.Connector
	text atomic.Pointer[string] // nil: no answer is lost
}

func (f *forgetful) loseAnswer(text string) { f.text.Store(&text) }

func (f *forgetful) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := f.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &forgetfulConn{Conn: conn.(*stdlib.Conn), of: f}, nil
}

type forgetfulConn struct {
	*stdlib.Conn
	of    *forgetful
	loses *string
}

func (c *forgetfulConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if text := c.of.text.Load(); text != nil && strings.Contains(query, *text) {
		c.loses = text
	}
	return c.Conn.QueryContext(ctx, query, args)
}

func (c *forgetfulConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Conn.BeginTx(ctx, opts)
	return &forgetfulTx{tx, c}, err
}

type forgetfulTx struct {
	driver.Tx
	conn *forgetfulConn
}

func (tx *forgetfulTx) Commit() error {
	loses := tx.conn.loses
	if err := tx.Tx.Commit(); err != nil || loses == nil || !tx.conn.of.text.CompareAndSwap(loses, nil) {
		return err
	}
	return io.ErrUnexpectedEOF
}

func newForgetful(t *testing.T) (*Outbox, *forgetful) {
	t.Helper()
	config, err := pgx.ParseConfig(testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	f := &forgetful{Connector: stdlib.GetConnector(*config)}
	db := sqlx.NewDb(sql.OpenDB(f), "pgx")
	t.Cleanup(func() { db.Close() })
	ob, err := New(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ob, f
}

// A write-back is carried out, the answer is lost, and it is tried again: one refusal
// counts one attempt.
func TestRelayCountsOneAttemptWhenTheReplyIsLost(t *testing.T) {
	ob, f := newForgetful(t)
	m := NewMessage("m", nil)
	enqueue(t, ob, m)
	s := newStage()
	start(t, newRelay(t, ob, s, patient()))
	first := s.next(t)
	f.loseAnswer("attempts = m.attempts + 1")
	first.refuse(Rejected(errors.New("queue is full")))
	second := s.next(t) // it is written back by now
	if f.text.Load() != nil {
		t.Error("no answer was lost")
	}
	if r := record(t, ob, m); r.Attempts != 1 {
		t.Errorf("%d attempts, want 1", r.Attempts)
	}
	second.accept()
	awaitStatus(t, ob, Published, m)
}

// So it is for a retry that succeeds: the rows that it has held back go out before later
// ones of its key, although the cursor has passed them. No sweep helps.
func TestRelayKeepsOrderWhenTheReplyIsLost(t *testing.T) {
	ob, f := newForgetful(t)
	msgs := keyed("k", 4)
	var taken atomic.Bool
	b := &broker{judge: func(m Message) error {
		if m.Topic == "k.0" && !taken.Load() {
			return Unroutable(errors.New("no queue"))
		}
		return nil
	}}
	enqueue(t, ob, msgs[:3]...)
	relay := newRelay(t, ob, b, patient())
	start(t, relay)
	eventually(t, "an attempt", func() bool { return record(t, ob, msgs[0]).Attempts > 0 })
	awaitStatus(t, ob, Published, passCursors(t, ob, relay))
	f.loseAnswer("SET status = 'published'")
	taken.Store(true)
	awaitStatus(t, ob, Published, msgs[0])
	enqueue(t, ob, msgs[3])
	awaitStatus(t, ob, Published, msgs[3])
	if f.text.Load() != nil {
		t.Error("no answer was lost")
	}
	wantTopics(t, keysTopics(b, "k"), topicsOf("k", 4))
}
