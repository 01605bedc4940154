package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/outboxtest"
	"github.com/asimalizada/pulse-events/outbox/postgres"
)

const patience = time.Minute

var quiet = slog.New(slog.DiscardHandler)

func open(t *testing.T, url string) *sqlx.DB {
	t.Helper()
	db, err := postgres.Open(postgres.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func newNotifier(t *testing.T, db *sqlx.DB) *postgres.Notifier {
	t.Helper()
	n, err := postgres.NewNotifier(db, postgres.NotifierConfig{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// listen runs a listener; woken has an element when it has been woken.
func listen(t *testing.T, url string, log io.Writer) (l *postgres.Listener, woken chan struct{}) {
	t.Helper()
	l, err := postgres.NewListener(postgres.ListenerConfig{
		Config: postgres.Config{URL: url, Name: "listener"}, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	woken = make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	var joined sync.WaitGroup
	joined.Go(func() {
		_ = l.Run(ctx, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	})
	t.Cleanup(func() {
		cancel()
		joined.Wait()
		if up, err := l.Health(); up || !errors.Is(err, context.Canceled) {
			t.Errorf("after its end: %v, %v", up, err)
		}
	})
	return l, woken
}

func await(t *testing.T, woken chan struct{}, what string) {
	t.Helper()
	select {
	case <-woken:
	case <-time.After(patience):
		t.Fatalf("not woken %s", what)
	}
}

// awaitNotification has a notification sent until it arrives: one that fails on a busy
// machine is not sent again.
func awaitNotification(t *testing.T, n *postgres.Notifier, woken chan struct{}) {
	t.Helper()
	testenv.Eventually(t, patience, "a notification", func() bool {
		n.Notify()
		select {
		case <-woken:
			return true
		default:
			return false
		}
	})
}

// A listener is woken when it begins to listen, by each notification, and whenever it listens
// again after its connection was lost.
func TestListener(t *testing.T) {
	server := testenv.PostgresServer(t)
	db := open(t, server.URL())
	db.MustExec(`CREATE ROLE listener LOGIN PASSWORD 'pulse'`)
	as, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	as.User = url.UserPassword("listener", "pulse")
	l, woken := listen(t, as.String(), io.Discard)
	await(t, woken, "at the start")
	notified := func() {
		t.Helper()
		n := newNotifier(t, db)
		awaitNotification(t, n, woken)
		n.Close() // it begins no other
	}
	// down waits until the listener does not listen, and forgets that it was woken until then.
	down := func() {
		t.Helper()
		testenv.Eventually(t, patience, "the listener to notice", func() bool { up, err := l.Health(); return !up && err != nil })
		select {
		case <-woken:
		default:
		}
	}
	// endSessions leaves none that could still send a notification.
	endSessions := func() {
		t.Helper()
		testenv.Eventually(t, patience, "all sessions but one to end", func() bool {
			var left int
			err := db.Get(&left, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`)
			return err == nil && left == 0
		})
	}
	notified()

	db.MustExec(`ALTER ROLE listener NOLOGIN`)
	endSessions()
	down()
	db.MustExec(`ALTER ROLE listener LOGIN`)
	await(t, woken, "after its session was ended")
	notified()

	server.Stop()
	down()
	n := newNotifier(t, db)
	n.Notify() // in vain
	n.Close()
	server.Start()
	await(t, woken, "after the server was restarted")
	notified()
}

// lines is a log that counts.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Producers may notify through PgBouncer in transaction mode. A listener there would hear nothing:
// it says so, once.
func TestNotifyThroughPgBouncer(t *testing.T) {
	direct := testenv.Postgres(t)
	pooled := testenv.PgBouncer(t, direct)
	_, woken := listen(t, direct, io.Discard)
	await(t, woken, "at the start")
	awaitNotification(t, newNotifier(t, open(t, pooled)), woken)

	var log lines
	l, deaf := listen(t, pooled, &log)
	tries := 0
	testenv.Eventually(t, patience, "the listener to try again", func() bool {
		up, err := l.Health()
		if up {
			t.Fatal("it says that it listens through a pooler")
		}
		if errors.Is(err, postgres.ErrPooler) {
			tries++
		}
		return tries > 20
	})
	if text := log.all(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "connection pooler") {
		t.Errorf("logged:\n%s", text)
	}
	select {
	case <-deaf:
		t.Error("it was woken")
	default:
	}
}

// A message of another process is published at once by a relay that polls once an hour.
func TestRelayIsWokenByAnotherProcess(t *testing.T) {
	url := testenv.Postgres(t)
	db, elsewhere := open(t, url), open(t, url)
	ob, err := outbox.New(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var recorder outboxtest.Recorder
	relay, err := outbox.NewRelay(ob, &recorder, outbox.RelayConfig{PollInterval: time.Hour, SweepInterval: time.Hour, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- relay.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	l, err := postgres.NewListener(postgres.ListenerConfig{Config: postgres.Config{URL: url}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	listening := make(chan error, 1)
	go func() { listening <- l.Run(ctx, relay.Wake) }()
	defer func() {
		cancel()
		<-listening
	}()
	testenv.Eventually(t, patience, "a relay with all leases, and a listener", func() bool {
		up, _ := l.Health()
		return up && relay.Health().Leases == 64
	})

	n := newNotifier(t, elsewhere)
	for i := range 5 {
		producer, err := outbox.New(elsewhere)
		if err != nil {
			t.Fatal(err)
		}
		tx := elsewhere.MustBegin()
		if err := errors.Join(producer.Enqueue(t.Context(), tx, outbox.NewMessage(fmt.Sprint("t", i), nil)), tx.Commit()); err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, patience, "the message to be published", func() bool {
			n.Notify()
			return relay.Health().Published == int64(i+1)
		})
	}
}

func TestNotifyConfigs(t *testing.T) {
	long := strings.Repeat("c", 64)
	if _, err := postgres.NewNotifier(nil, postgres.NotifierConfig{Channel: long, Interval: -1}); err == nil ||
		!strings.Contains(err.Error(), "database is nil") || !strings.Contains(err.Error(), "Interval: -1ns") || !strings.Contains(err.Error(), "Channel: 64 bytes") {
		t.Errorf("%v", err)
	}
	_, err := postgres.NewListener(postgres.ListenerConfig{Config: postgres.Config{URL: "postgres://u:secret@h/d", MaxConns: -1}, Channel: long})
	if err == nil || !strings.Contains(err.Error(), "MaxConns") || !strings.Contains(err.Error(), "Channel: 64 bytes") || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}
