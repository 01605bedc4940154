package relay

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

const patience = time.Minute

// contractFile is the page that producers read.
const contractFile = "../../../docs/sql-contract.md"

// contractBlock returns the block of SQL in the contract that begins with a text.
func contractBlock(t *testing.T, begin string) string {
	t.Helper()
	text, err := os.ReadFile(contractFile)
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(text), "```sql\n") {
		if sql, _, closed := strings.Cut(block, "```"); closed && strings.HasPrefix(sql, begin) {
			return sql
		}
	}
	t.Fatalf("%s has no block of SQL that begins with %q", contractFile, begin)
	return ""
}

// open opens a database until the test ends.
func open(t *testing.T, url string) *sqlx.DB {
	t.Helper()
	db, _, err := database.Open(url, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// migrate creates the outbox.
func migrate(t *testing.T, db *sqlx.DB) {
	t.Helper()
	ob, err := outbox.New(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// start runs a process until the test ends. Its exchange is given; its topics need
// no queue, unless routed.
func start(t *testing.T, outboxDB, broker, exchange string, routed bool) {
	t.Helper()
	cfg := Config{
		DatabaseURL: outboxDB, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), StartTimeout: patience, HealthAddr: "127.0.0.1:0",
		Publisher: outboxrabbit.PublisherConfig{URL: broker, Exchange: exchange, Producer: "shop"},
		Relay:     outbox.RelayConfig{MaxPollInterval: 100 * time.Millisecond},
	}
	if !routed {
		cfg.Publisher.AllowUnroutable = func(topic string) bool { return topic != "nobody.listens" }
	}
	run(t, cfg)
}

// run runs a process until the test ends.
func run(t *testing.T, cfg Config) *Process {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// state is what has become of a row.
type state struct {
	Status    string `db:"status"`
	Attempts  int    `db:"attempts"`
	LastError string `db:"last_error"`
}

func (s state) String() string {
	return fmt.Sprintf("%s, %d attempts, %q", s.Status, s.Attempts, s.LastError)
}

// look returns the state of the row with a key.
func look(t *testing.T, db *sqlx.DB, key string) (s state) {
	t.Helper()
	if err := db.Get(&s, `SELECT status, attempts, last_error FROM outbox_messages WHERE key = $1`, key); err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return s
}

// role is a user with the rights that the contract grants under a name.
func role(t *testing.T, outboxDB, grants, name string) *testenv.PostgresUser {
	t.Helper()
	user := testenv.NewPostgresUser(t, outboxDB)
	user.Exec(`REVOKE ALL ON SCHEMA public FROM ` + user.Name())
	lines := strings.TrimSpace(contractBlock(t, grants))
	granted := strings.ReplaceAll(lines, "TO "+name+";", "TO "+user.Name()+";")
	if granted == lines {
		t.Fatalf("the contract grants nothing to %s:\n%s", name, lines)
	}
	user.Exec(granted)
	return user
}
