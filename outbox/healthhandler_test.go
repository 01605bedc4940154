package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestHealthJSON(t *testing.T) {
	h := Health{State: RelayDegraded, Since: time.Date(2026, 11, 26, 1, 2, 3, 0, time.UTC), LastError: errors.New("sweep: away"),
		Leases: 64, Published: 3, OldestPending: 90 * time.Second}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"state":"degraded"`, `"since":"2026-11-26T01:02:03Z"`, `"lastError":"sweep: away"`,
		`"leases":64`, `"published":3`, `"dead":0`, `"oldestPendingSeconds":90`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
	if text, err := json.Marshal(Health{State: RelayStarting}); err != nil || strings.Contains(string(text), "since") || strings.Contains(string(text), "lastError") {
		t.Errorf("zero values are shown: %s, %v", text, err)
	}
}

// Readiness tries to write and rolls back: a database that answers and accepts no
// messages is not ready.
func TestHealthHandlerReady(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.unmigrated(t)
		if err := ob.CheckReady(t.Context()); !errors.Is(err, ErrSchema) {
			t.Errorf("no schema: %v", err)
		}
		if _, err := ob.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := ob.CheckReady(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		enqueue(t, ob, NewMessage("first", nil))
		if n := number(t, db, `SELECT max(seq) FROM outbox_messages`); n != 1 {
			t.Errorf("the first message has seq %d: looking has used some up", n)
		}
	})
	t.Run("read-only", func(t *testing.T) {
		ob, db := postgres.newOutbox(t)
		db.MustExec(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`)
		db.SetMaxIdleConns(0) // what was connected before
		if err := ob.CheckReady(t.Context()); sqldb.Judge(err) != sqldb.ReadOnly {
			t.Errorf("%v", err)
		}
	})
	t.Run("rights", func(t *testing.T) {
		user := testenv.NewPostgresUser(t, testenv.Postgres(t))
		ob, err := New(postgres.connect(t, user.URL()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ob.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := ob.CheckReady(t.Context()); err != nil {
			t.Errorf("with all rights: %v", err)
		}
		user.Exec(`REVOKE INSERT ON outbox_messages FROM ` + user.Name())
		if err := ob.CheckReady(t.Context()); sqldb.Judge(err) != sqldb.Refused {
			t.Errorf("without the right to insert: %v", err)
		}
	})
	t.Run("SQLite read-only", func(t *testing.T) {
		url := file.create(t)
		migrated, err := New(file.connect(t, url))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := migrated.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		db, err := sqlx.Open("sqlite3", "file:"+strings.TrimPrefix(url, "sqlite:")+"?mode=ro&_txlock=immediate")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		ob, err := New(db)
		if err != nil {
			t.Fatal(err)
		}
		if err := ob.CheckReady(t.Context()); sqldb.Judge(err) != sqldb.ReadOnly {
			t.Errorf("%v", err)
		}
	})
	t.Run("SQLite busy", func(t *testing.T) {
		ob, db := file.newOutbox(t)
		writer := db.MustBegin()
		defer writer.Rollback()
		if err := ob.CheckReady(t.Context()); !errors.Is(err, sqldb.ErrBusy) {
			t.Errorf("%v", err)
		}
	})
	t.Run("SQLite busy and without its table", func(t *testing.T) {
		ob, db := file.newOutbox(t)
		db.MustExec(`DROP TABLE outbox_messages`)
		writer := db.MustBegin()
		defer writer.Rollback()
		if err := ob.CheckReady(t.Context()); !errors.Is(err, ErrSchema) || errors.Is(err, sqldb.ErrBusy) {
			t.Errorf("%v", err)
		}
	})
}

func TestHealthHandler(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		relay := newRelay(t, ob, &broker{}, patient())
		start(t, relay)
		var brokerErr error
		handler := HealthHandler(HealthConfig{
			Service: "orders", Outbox: ob, Relay: relay.Health, Logger: slog.New(slog.DiscardHandler),
			Publisher: func() (bool, error) { return brokerErr == nil, brokerErr },
			Ready:     func(context.Context) error { return nil },
		})
		ask := func(path string) (int, string) {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
			return answer.Code, answer.Body.String()
		}
		eventually(t, "the relay to be shown running", func() bool {
			code, body := ask("/health/ready")
			return code == 200 && strings.Contains(body, `"state":"running"`) && strings.Contains(body, `"connected":true`)
		})
		brokerErr = errors.New("dial amqp://app@10.1.2.3: refused")
		code, body := ask("/health/ready")
		if code != 200 || !strings.Contains(body, `"state":"degraded"`) || !strings.Contains(body, `"lastError":"broker unavailable"`) ||
			strings.Contains(body, "10.1.2.3") {
			t.Errorf("broker away: %d %s", code, body)
		}
		if code, body := ask("/health/live"); code != 200 {
			t.Errorf("%d %s", code, body)
		}
		db.MustExec(`DROP TABLE outbox_messages`)
		if code, body := ask("/health/ready"); code != 503 || !strings.Contains(body, `"status":"schema"`) {
			t.Errorf("schema missing: %d %s", code, body)
		}
	})
}
