package inbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/health"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestHealthJSON(t *testing.T) {
	text, err := json.Marshal(inbox.Health{State: inbox.Degraded, Since: time.Date(2026, 11, 26, 1, 2, 3, 0, time.UTC), LastError: errors.New("away"), DeadLettered: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"state":"degraded"`, `"since":"2026-11-26T01:02:03Z"`, `"lastError":"away"`, `"deadLettered":2`, `"held":0`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s lacks %s", text, want)
		}
	}
	if text, err := json.Marshal(inbox.Health{}); err != nil || strings.Contains(string(text), "since") || strings.Contains(string(text), "lastError") || strings.Contains(string(text), "setAside") {
		t.Errorf("zero values or deprecated fields are shown: %s, %v", text, err)
	}
}

// Readiness tries to write and rolls back: a database that answers and accepts no
// writes is not ready.
func TestHealthHandlerReady(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		if err := in.CheckReady(t.Context()); err != nil {
			t.Error(err)
		}
		inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM processed_events`)
		mustExec(t, db, `DROP TABLE processed_events`)
		if err := in.CheckReady(t.Context()); !errors.Is(err, inbox.ErrSchema) {
			t.Errorf("no schema: %v", err)
		}
	})
	t.Run("rights", func(t *testing.T) {
		user := testenv.NewPostgresUser(t, testenv.Postgres(t))
		in, _ := newInbox(t, user.URL())
		if err := in.CheckReady(t.Context()); err != nil {
			t.Errorf("with all rights: %v", err)
		}
		user.Exec(`REVOKE INSERT ON processed_events FROM ` + user.Name())
		if err := in.CheckReady(t.Context()); sqldb.Judge(err) != sqldb.Refused {
			t.Errorf("without the right to insert: %v", err)
		}
	})
	t.Run("SQLite read-only", func(t *testing.T) {
		url := sqliteFile(t)
		newInbox(t, url)
		db, err := sqlx.Open("sqlite3", "file:"+strings.TrimPrefix(url, "sqlite:")+"?mode=ro&_txlock=immediate")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		in, err := inbox.New(db, "notifications")
		if err != nil {
			t.Fatal(err)
		}
		if err := in.CheckReady(t.Context()); sqldb.Judge(err) != sqldb.ReadOnly {
			t.Errorf("%v", err)
		}
	})
}

func TestHealthHandler(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		c := consume(t, in, inboxtest.NewQueue(), record, inbox.ConsumerConfig{})
		eventually(t, "the consumer to run", func() bool { return c.Health().State == inbox.Running })
		var brokerErr error
		trouble := false
		handler := inbox.HealthHandler(inbox.HealthConfig{
			Service: "notifications", Inbox: in, Consumer: c.Health, Logger: slog.New(slog.DiscardHandler),
			Source: func() (bool, error) { return brokerErr == nil || trouble, brokerErr },
		})
		ask := func(path string) (int, string) {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
			return answer.Code, answer.Body.String()
		}
		if code, body := ask("/health/ready"); code != 200 || !strings.Contains(body, `"state":"running"`) || !strings.Contains(body, `"connected":true`) {
			t.Errorf("%d %s", code, body)
		}
		brokerErr = errors.New("dial amqp://app@10.1.2.3: refused")
		if code, body := ask("/health/ready"); code != 200 || !strings.Contains(body, `"lastError":"broker unavailable"`) || strings.Contains(body, "10.1.2.3") {
			t.Errorf("broker away: %d %s", code, body)
		}
		brokerErr, trouble = fmt.Errorf("%w: queue of 10.1.2.3", health.Public("messages cannot be moved")), true
		if code, body := ask("/health/ready"); code != 200 || !strings.Contains(body, `"state":"degraded"`) ||
			!strings.Contains(body, `"connected":true`) || !strings.Contains(body, `"lastError":"messages cannot be moved"`) {
			t.Errorf("trouble with a connection: %d %s", code, body)
		}
		mustExec(t, db, `DROP TABLE processed_events`)
		if code, body := ask("/health/ready"); code != 503 || !strings.Contains(body, `"status":"schema"`) {
			t.Errorf("schema missing: %d %s", code, body)
		}
		c.stop()
		if code, body := ask("/health/live"); code != 200 {
			t.Errorf("stopped in order: %d %s", code, body)
		}
	})
}

// The process of a consumer that has failed for good should be restarted.
func TestHealthHandlerNotLiveAfterFailure(t *testing.T) {
	in, err := inbox.New(openDB(t, sqliteFile(t)), "notifications")
	if err != nil {
		t.Fatal(err)
	}
	c, err := inbox.NewConsumer(in, inboxtest.NewQueue(), record, inbox.ConsumerConfig{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); !errors.Is(err, inbox.ErrSchema) {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	inbox.HealthHandler(inbox.HealthConfig{Consumer: c.Health}).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/live", nil))
	if answer.Code != http.StatusServiceUnavailable || !strings.Contains(answer.Body.String(), `"status":"dead"`) {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}
