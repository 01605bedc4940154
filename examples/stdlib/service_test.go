package stdlib_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/logging"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestMain(m *testing.M) {
	testenv.Init()
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// nobody is a broker's address at which nothing listens.
const nobody = "amqp://guest:guest@127.0.0.1:1/"

// journal gathers log lines of services that write at the same time.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// find returns the first record for which every attribute has its value.
func (j *journal) find(t *testing.T, want map[string]any) map[string]any {
	t.Helper()
records:
	for line := range strings.Lines(j.String()) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		for name, value := range want {
			if record[name] != value {
				continue records
			}
		}
		return record
	}
	return nil
}

// settings of a service on a database of its own, without a broker.
func settings(t *testing.T, on platform) (stdlib.Settings, *journal) {
	t.Helper()
	logs := new(journal)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logs:\n%s", logs)
		}
	})
	return stdlib.Settings{
		DatabaseURL:  on.database(t),
		AMQPURL:      nobody,
		AutoMigrate:  true,
		StartTimeout: patience,
		Logger:       logging.New(logs, logging.JSON, slog.LevelDebug),
	}, logs
}

// start runs a service until the test ends, which fails if Run does, and
// returns its address once it is ready.
func start(t *testing.T, service interface {
	Run(context.Context, net.Listener) error
}) string {
	t.Helper()
	url, stop := startUntil(t, service)
	t.Cleanup(stop)
	return url
}

// startUntil runs a service until stop is called.
func startUntil(t *testing.T, service interface {
	Run(context.Context, net.Listener) error
}) (url string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	url = "http://" + ln.Addr().String()
	testenv.Eventually(t, patience, "the service to be ready", func() bool {
		status, _ := ask(t, http.MethodGet, url+"/health/ready", "")
		return status == http.StatusOK
	})
	return url, stop
}

// ask sends one request and returns status and body.
func ask(t *testing.T, method, url, body string, headers ...string) (int, []byte) {
	t.Helper()
	res, text := exchange(t, method, url, body, headers...)
	return res.StatusCode, text
}

// exchange sends one request; headers are names and values in turn.
func exchange(t *testing.T, method, url, body string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return res, text
}

func decode[T any](t *testing.T, text []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func open(t *testing.T, url string) *sqlx.DB {
	t.Helper()
	db, _, err := database.Open(url, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func count(t *testing.T, db *sqlx.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.GetContext(t.Context(), &n, "SELECT count(*) FROM "+query, args...); err != nil {
		t.Fatal(err)
	}
	return n
}

func execute(t *testing.T, db *sqlx.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
