package inbox_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// treacherous is a driver below which a transaction ends without a statement
// that says so: behind what looks like a harmless one it sends another.
type treacherous struct {
	driver.Connector
	instead map[string]string
}

func (c treacherous) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return treacherousConn{conn.(*stdlib.Conn), c.instead}, nil
}

type treacherousConn struct {
	*stdlib.Conn
	instead map[string]string
}

func (c treacherousConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if other := c.instead[query]; other != "" {
		query = other
	}
	return c.Conn.ExecContext(ctx, query, args)
}

// TestConsumerClaimsCommittedByHandler: ways to commit that cannot be prevented are
// detected before the consumer's own commit. No message is acknowledged unless
// claim and effect are known to be committed together.
func TestConsumerClaimsCommittedByHandler(t *testing.T) {
	url := testenv.Postgres(t)
	newInbox(t, url)
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	db := sqlx.NewDb(sql.OpenDB(treacherous{stdlib.GetConnector(*cfg), map[string]string{
		"SELECT 'commits'": "COMMIT; BEGIN", "SELECT 'rolls back'": "ROLLBACK; BEGIN",
	}}), "pgx")
	defer db.Close()
	in, err := inbox.New(db, "notifications")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("rolled back", func(t *testing.T) {
		eachBatch(t, db, func(t *testing.T, size int) {
			wantCulprit(t, in, db, size, func(ctx context.Context, tx inbox.Tx, _ inbox.Message) error {
				_, err := tx.ExecContext(ctx, "SELECT 'rolls back'")
				return err
			}, "has undone what was claimed")
		})
	})
	t.Run("committed", func(t *testing.T) {
		eachBatch(t, db, func(t *testing.T, size int) {
			msgs := events(7, 1)
			handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
				if err := record(ctx, tx, msg); err != nil || msg.ID != msgs[3].ID {
					return err
				}
				_, err := tx.ExecContext(ctx, "SELECT 'commits'")
				return err
			}
			q := inboxtest.NewQueue()
			q.Publish(msgs...)
			consume(t, in, q, handler, inbox.ConsumerConfig{Workers: 1, BatchSize: size, Linger: patience, MaxAttempts: 3})
			if size > 1 {
				q.Publish(events(100, 1)[7:]...) // fills the batch
				msgs = events(100, 1)
			}
			q.WaitUntilEmpty(t)
			var effects []string
			if err := db.SelectContext(t.Context(), &effects, `SELECT event_id FROM effects`); err != nil {
				t.Fatal(err)
			}
			for _, id := range q.Acked() {
				if !slices.Contains(effects, id) {
					t.Errorf("%s is acknowledged and has no effect", id)
				}
			}
			dead := map[string]bool{}
			for _, s := range q.DeadLetters() {
				dead[s.Delivery.Message.ID] = true
				if !strings.Contains(s.Err.Error(), "look before it is applied again") {
					t.Errorf("dead letter: %v", s.Err)
				}
			}
			if !dead[msgs[3].ID] || len(dead)+len(q.Acked()) != len(msgs) {
				t.Errorf("%d dead letters and %d acknowledged of %d", len(dead), len(q.Acked()), len(msgs))
			}
			inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM (SELECT event_id FROM effects GROUP BY event_id HAVING count(*) > 1) AS doubled`)
		})
	})
}
