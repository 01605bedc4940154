package ui_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
	"github.com/asimalizada/pulse-events/pulsectl/ui"
)

// service is a service that mounts the page, with a SQLite database and no broker
// unless the test adds one.
type service struct {
	t   *testing.T
	db  *sqlx.DB
	cfg ui.Config
	url string
	// client keeps cookies, as a browser does, and does not follow redirects.
	client *http.Client
}

func newService(t *testing.T, change func(*ui.Config)) *service {
	t.Helper()
	path := filepath.Join(t.TempDir(), "service.db")
	content, err := empty()
	if err == nil {
		err = os.WriteFile(path, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return serve(t, db, change)
}

// empty returns a database with empty tables: to make them takes longer than most
// tests.
var empty = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "ui-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	db, err := sqlite.Open(filepath.Join(dir, "empty.db"))
	if err == nil {
		err = errors.Join(migrate(context.Background(), db), db.Close())
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "empty.db"))
})

func migrate(ctx context.Context, db *sqlx.DB) error {
	ob, err := outbox.New(db)
	if err != nil {
		return err
	}
	in, err := inbox.New(db, "notifications")
	if err != nil {
		return err
	}
	_, err = ob.Migrate(ctx)
	_, inErr := in.Migrate(ctx)
	return errors.Join(err, inErr)
}

func serve(t *testing.T, db *sqlx.DB, change func(*ui.Config)) *service {
	t.Helper()
	ob, err := outbox.New(db)
	if err != nil {
		t.Fatal(err)
	}
	in, err := inbox.New(db, "notifications")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, db: db, cfg: ui.Config{Outbox: ob, Inbox: in, Logger: slog.New(slog.DiscardHandler), Interval: 20 * time.Millisecond}}
	if change != nil {
		change(&s.cfg)
	}
	page, err := ui.New(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	// Streams of events end with the context of requests.
	ctx, cancel := context.WithCancel(context.Background())
	server := httptest.NewUnstartedServer(page)
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.Start()
	t.Cleanup(func() { cancel(); server.Close() })
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.url = server.URL
	s.client = &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s
}

// get returns status and body of a path.
func (s *service) get(path string) (int, string) {
	s.t.Helper()
	res, err := s.client.Get(s.url + path)
	if err != nil {
		s.t.Fatal(err)
	}
	return read(s.t, res)
}

func read(t *testing.T, res *http.Response) (int, string) {
	t.Helper()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// shows fails the test unless a path answers with the status and all of the texts.
func (s *service) shows(path string, status int, texts ...string) string {
	s.t.Helper()
	got, body := s.get(path)
	if got != status {
		s.t.Errorf("%s: status %d, want %d\n%s", path, got, status, body)
	}
	for _, text := range texts {
		if !strings.Contains(body, text) {
			s.t.Errorf("%s: no %q in\n%s", path, text, body)
		}
	}
	return body
}

// enqueue commits messages, and returns their ids.
func (s *service) enqueue(msgs ...outbox.Message) (ids []uuid.UUID) {
	s.t.Helper()
	tx, err := s.db.BeginTxx(s.t.Context(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if err := s.cfg.Outbox.Enqueue(s.t.Context(), tx, msgs...); err != nil {
		s.t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		s.t.Fatal(err)
	}
	for _, m := range msgs {
		ids = append(ids, m.ID)
	}
	return ids
}

func (s *service) exec(query string, args ...any) {
	s.t.Helper()
	if _, err := s.db.ExecContext(s.t.Context(), s.db.Rebind(query), args...); err != nil {
		s.t.Fatal(err)
	}
}

func message(topic, key, payload string) outbox.Message {
	m := outbox.NewMessage(topic, []byte(payload))
	m.Key, m.Headers = key, map[string]string{"tenant": "acme-secret"}
	return m
}
