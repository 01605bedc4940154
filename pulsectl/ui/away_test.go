package ui_test

import (
	"bufio"
	"context"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/postgres"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/ui"
)

// What is away is said on each screen; what is not is still shown.
func TestAway(t *testing.T) {
	t.Parallel()
	broker := devbroker.NewTest(t)
	away, err := postgres.Open(postgres.Config{URL: "postgres://u:s3cret@127.0.0.1:1/db?connect_timeout=2"})
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	s := newService(t, func(cfg *ui.Config) {
		cfg.Source = &inboxrabbit.SourceConfig{URL: broker.URL(), Queue: "order.created"}
		if cfg.Outbox, err = outbox.New(away); err != nil {
			t.Fatal(err)
		}
	})
	for _, path := range []string{"/outbox", "/blocked", "/outbox/01a2077e-aa18-74f7-aacf-79289ea1d69c"} {
		if body := s.shows(path, http.StatusServiceUnavailable, "No answer", "127.0.0.1"); strings.Contains(body, "s3cret") {
			t.Errorf("%s shows the password:\n%s", path, body)
		}
	}
	s.shows("/", http.StatusOK, "down", "no connection to the database", "order.created does not exist", "applied")
	s.shows("/workers", http.StatusOK, "No answer", "No instance has reported", "order.created.dlq")
	s.shows("/inbox", http.StatusOK, "Nothing has been applied yet.")
	if err := broker.Close(); err != nil {
		t.Fatal(err)
	}
	s.shows("/workers", http.StatusOK, "cannot reach the broker")

	nothing := newService(t, func(cfg *ui.Config) { cfg.Outbox = nil })
	nothing.shows("/outbox", http.StatusNotFound, "Not set up", "this page shows no outbox")
	nothing.shows("/", http.StatusOK, "not given")
	s.exec(`DROP TABLE processed_events`)
	s.shows("/inbox", http.StatusServiceUnavailable, "tables are missing", "pulsectl migrate up")
}

// A query that hangs ends, for the browser and for the database.
func TestStatementTimeout(t *testing.T) {
	t.Parallel()
	db, err := postgres.Open(postgres.Config{URL: testenv.Postgres(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	s := serve(t, db, func(cfg *ui.Config) { cfg.QueryLimit = 200 * time.Millisecond })
	lock, err := db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback() }()
	if _, err := lock.ExecContext(t.Context(), `LOCK TABLE outbox_messages IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/outbox", "/blocked"} {
		s.shows(path, http.StatusServiceUnavailable, "no answer within 200ms")
	}
	s.shows("/workers", http.StatusOK)
	testenv.Eventually(t, time.Minute, "the database to end the queries", func() bool { return waiting(t, db) == 0 })
}

// waiting counts the sessions that wait for a lock in the test's database.
func waiting(t *testing.T, db *sqlx.DB) (n int) {
	t.Helper()
	if err := db.GetContext(t.Context(), &n, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`); err != nil {
		t.Fatal(err)
	}
	return n
}

// The stream brings the overview as it changes.
func TestEvents(t *testing.T) {
	t.Parallel()
	s := newService(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if kind := res.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("content type %q", kind)
	}
	stream := bufio.NewScanner(res.Body)
	until := func(text string) {
		t.Helper()
		for stream.Scan() {
			line := stream.Text()
			if line != "" && !strings.HasPrefix(line, "data: ") && line != "data:" {
				t.Fatalf("%q is no line of an event", line)
			}
			if strings.Contains(line, text) {
				return
			}
		}
		t.Fatalf("no %q: %v", text, stream.Err())
	}
	until("Nothing is wrong.")
	s.enqueue(message("t", "", ""))
	until("no relay is ready to publish the pending messages")
	s.exec(`DELETE FROM outbox_messages`)
	until("Nothing is wrong.")
}

// When the last browser has left, nothing runs.
func TestEventsEnd(t *testing.T) {
	s := newService(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = res.Body.Close()
	testenv.Eventually(t, time.Minute, "the followers to end", func() bool { return !running("internal/live.Follow") })
}

// running reports whether a goroutine is in a function.
func running(function string) bool {
	stacks := make([]byte, 1<<20)
	return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), function)
}
