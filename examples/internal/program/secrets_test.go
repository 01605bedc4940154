package program_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

const patience = 30 * time.Second

// secret stands in every password that the programs are given.
const secret = "hunter2"

var programs = []struct{ name, path, dbVariable, addrVariable string }{
	{"stdlib orders", "../../stdlib/cmd/orders", "PULSE_OUTBOX_DB", "PULSE_ORDERS_ADDR"},
	{"stdlib notifications", "../../stdlib/cmd/notifications", "PULSE_INBOX_DB", "PULSE_NOTIFICATIONS_ADDR"},
	{"gin orders", "../../gin/cmd/orders", "PULSE_OUTBOX_DB", "PULSE_ORDERS_ADDR"},
	{"gin notifications", "../../gin/cmd/notifications", "PULSE_INBOX_DB", "PULSE_NOTIFICATIONS_ADDR"},
}

// failure is a way in which a program can fail, with a password at stake.
type failure struct {
	name string
	// given returns the URLs of database and broker.
	given func(t *testing.T) (database, broker string)
	// then, if set, breaks something once the program is ready.
	then func(t *testing.T)
	// shows is what the program's output or its answers have to hold: the
	// failure happened, and was told.
	shows string
}

// TestNoFailureTellsASecret runs the programs into every failure that
// databases, brokers and settings can cause, and reads all they say.
func TestNoFailureTellsASecret(t *testing.T) {
	for _, p := range programs {
		binary := filepath.Join(t.TempDir(), filepath.Base(p.path))
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, p.path).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", p.path, err, out)
		}
		for _, f := range failures() {
			t.Run(p.name+"/"+f.name, func(t *testing.T) {
				database, broker := f.given(t)
				addr := freeAddr(t)
				run := start(t, binary, p.dbVariable+"="+database, "PULSE_AMQP_URL="+broker, p.addrVariable+"="+addr, "PULSE_LOG_LEVEL=debug", "PULSE_AUTH=off", "PULSE_DRAIN_PERIOD=0s")
				if f.then != nil {
					testenv.Eventually(t, patience, "the program to be ready", func() bool { return run.ask(http.MethodGet, "http://"+addr+"/health/ready") == http.StatusOK })
					f.then(t)
				}
				testenv.Eventually(t, patience, fmt.Sprintf("%q to be told", f.shows), func() bool {
					run.ask(http.MethodGet, "http://"+addr+"/health/ready")
					run.ask(http.MethodPost, "http://"+addr+"/orders")
					return strings.Contains(run.said(), f.shows)
				})
				run.end(t)
				if said := run.said(); strings.Contains(said, secret) {
					t.Errorf("a password is told:\n%s", said)
				}
			})
		}
	}
}

// failures are made anew for each program: some share what they break.
func failures() []failure {
	const away = "127.0.0.1:1" // nothing listens there
	sqliteFile := func(t *testing.T) string { return sqlstore.SQLiteURL(filepath.Join(t.TempDir(), "service.db")) }
	var b *devbroker.Broker
	newBroker := func(t *testing.T) string {
		b = devbroker.NewTest(t, func(c *devbroker.Config) { c.User, c.Password = "app", secret })
		return b.URL()
	}
	var lockOut func()
	return []failure{
		{name: "URLs that are none", shows: "PULSE_AMQP_URL", given: func(*testing.T) (string, string) {
			return "postgres://app:" + secret + "@db:port/orders", "http://app:" + secret + "@broker/"
		}},
		{name: "unencoded passwords", shows: "PULSE_AMQP_URL", given: func(*testing.T) (string, string) {
			return "postgres://app:" + secret + "/@db/orders", "amqp://app:%" + secret + "@broker/"
		}},
		{name: "database away", shows: "waiting for the database", given: func(t *testing.T) (string, string) {
			return "postgres://app:" + secret + "@" + away + "/orders", "amqp://guest@" + away
		}},
		{name: "database refuses the password", shows: "28P01", given: func(t *testing.T) (string, string) {
			return as(t, testenv.Postgres(t), "pulse_nobody", nil), "amqp://guest@" + away
		}},
		{name: "database speaks no TLS", shows: "TLS", given: func(t *testing.T) (string, string) {
			return as(t, testenv.Postgres(t), "pulse_nobody", url.Values{"sslmode": {"verify-full"}}), "amqp://guest@" + away
		}},
		{name: "database lost", shows: "unready", given: func(t *testing.T) (string, string) {
			var database string
			database, lockOut = ownRole(t)
			return database, "amqp://guest@" + away
		}, then: func(*testing.T) { lockOut() }},
		{name: "broker away", shows: "refused", given: func(t *testing.T) (string, string) {
			return sqliteFile(t), "amqp://app:" + secret + "@" + away + "/"
		}},
		{name: "broker refuses the password", shows: "403", given: func(t *testing.T) (string, string) {
			return sqliteFile(t), strings.Replace(newBroker(t), secret, secret+"-old", 1)
		}},
		{name: "broker speaks no TLS", shows: "tls", given: func(t *testing.T) (string, string) {
			return sqliteFile(t), strings.Replace(newBroker(t), "amqp:", "amqps:", 1)
		}},
		{name: "broker lost", shows: "refused", given: func(t *testing.T) (string, string) {
			return sqliteFile(t), newBroker(t)
		}, then: func(t *testing.T) {
			if err := b.Inject(devbroker.Fault{Kind: devbroker.FaultDown}); err != nil {
				t.Fatal(err)
			}
		}},
	}
}

// as returns the database's URL for another user, whose password is secret.
func as(t *testing.T, databaseURL, user string, params url.Values) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	if u.User = url.UserPassword(user, secret); params != nil {
		u.RawQuery = params.Encode()
	}
	return u.String()
}

// ownRole makes a database that belongs to a user of the test's own. lockOut
// ends its connections and lets it in no more.
func ownRole(t *testing.T) (databaseURL string, lockOut func()) {
	t.Helper()
	admin := testenv.Postgres(t)
	role := strings.ReplaceAll(testenv.UniqueName(t, "pulse_app"), ".", "_")
	execute := func(statement string) {
		t.Helper()
		db, err := sqlx.Open("pgx", admin)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	execute(`CREATE ROLE ` + role + ` LOGIN PASSWORD '` + secret + `'`)
	execute(`GRANT ALL ON SCHEMA public TO ` + role)
	t.Cleanup(func() {
		execute(`DROP OWNED BY ` + role)
		execute(`DROP ROLE ` + role)
	})
	return as(t, admin, role, nil), func() {
		execute(`ALTER ROLE ` + role + ` NOLOGIN`)
		execute(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '` + role + `'`)
	}
}

// process is a running program, and all it has said.
type process struct {
	cmd    *exec.Cmd
	client http.Client

	mu   sync.Mutex
	text bytes.Buffer
}

func start(t *testing.T, binary string, env ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary), client: http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
	p.cmd.Env, p.cmd.WaitDelay = env, patience
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(text)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// ask sends a request and adds the answer to what was said. It returns the
// status, or 0 without an answer.
func (p *process) ask(method, address string) int {
	req, err := http.NewRequest(method, address, strings.NewReader(`{"customerId":"c","amount":1}`))
	if err != nil {
		return 0
	}
	res, err := p.client.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	_, _ = p.Write(body)
	return res.StatusCode
}

// end stops the program in order, if it has not ended by itself.
func (p *process) end(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		if _, ended := errors.AsType[*exec.ExitError](err); !ended {
			t.Fatal(err)
		}
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
