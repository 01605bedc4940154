package relay

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// producersDir has programs that write to the outbox.
const producersDir = "../../../examples/relay/producers"

const (
	changes = 60 // transactions of a producer, of which it rolls back every third
	orders  = 7  // they are about
)

// Programs in other languages change orders, and tell of it in the same
// transaction. What they commit is published, in order for each order, and applied
// once; what they roll back is not.
func TestProducers(t *testing.T) {
	for _, c := range []struct {
		name    string
		program func(t *testing.T, prefix string) *exec.Cmd
	}{{"psql", psqlProgram}, {"Python", pythonProgram}, {"Node", nodeProgram}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			outboxDB, broker := testenv.Postgres(t), testenv.RabbitMQ(t)
			admin := open(t, outboxDB)
			migrate(t, admin)
			admin.MustExec(`CREATE TABLE orders (id text PRIMARY KEY, version integer NOT NULL)`)
			producer := role(t, outboxDB, producerGrants, "shop")
			producer.Exec(`GRANT SELECT, INSERT, UPDATE ON orders TO ` + producer.Name())
			prefix := strings.ToLower(c.name)
			program := c.program(t, prefix)

			exchange, queue := testenv.UniqueName(t, "shop"), testenv.UniqueName(t, "order.changed")
			health := consume(t, outboxDB, broker, exchange, queue)
			start(t, outboxDB, broker, exchange, true)

			program.Env = append(program.Environ(), "PULSE_OUTBOX_DB="+producer.URL())
			program.Stderr = t.Output()
			out, err := program.Output()
			if err != nil {
				t.Fatalf("%s: %v", program, err)
			}
			committed := strings.Fields(string(out))
			if want := changes - changes/3; len(committed) != want {
				t.Fatalf("%d changes were committed, want %d:\n%s", len(committed), want, out)
			}
			testenv.Eventually(t, patience, "all to be applied", func() bool { return health().Applied >= int64(len(committed)) })
			if h := health(); h.Applied != int64(len(committed)) || h.DeadLettered+h.Retried != 0 {
				t.Errorf("applied %d, dead-lettered %d, retried %d; want %d", h.Applied, h.DeadLettered, h.Retried, len(committed))
			}
			checkEffects(t, outboxDB, committed)
		})
	}
}

// psqlProgram is psql with one change after the other.
func psqlProgram(t *testing.T, prefix string) *exec.Cmd {
	testenv.Tool(t, "psql")
	script, err := filepath.Abs(filepath.Join(producersDir, "order.sql"))
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for n := range changes {
		fmt.Fprintf(&lines, "\\set order '%s-%d'\n\\set commit %t\n\\i '%s'\n", prefix, n%orders, n%3 != 2, script)
	}
	cmd := exec.Command("bash", "-c", `exec psql -XqAt "$PULSE_OUTBOX_DB"`)
	cmd.Stdin = strings.NewReader(lines.String())
	return cmd
}

func pythonProgram(t *testing.T, prefix string) *exec.Cmd {
	testenv.Tool(t, "/usr/bin/python3") // which has Debian's packages
	if out, err := exec.Command("/usr/bin/python3", "-c", "import psycopg").CombinedOutput(); err != nil {
		missing(t, "psycopg for Python", string(out))
	}
	return exec.Command("/usr/bin/python3", filepath.Join(producersDir, "orders.py"), prefix, fmt.Sprint(changes))
}

func nodeProgram(t *testing.T, prefix string) *exec.Cmd {
	modules := testenv.NodeModules(t, "pg")
	cmd := exec.Command("node", filepath.Join(producersDir, "orders.js"), prefix, fmt.Sprint(changes))
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	return cmd
}

// missing ends a test whose program lacks a library.
func missing(t *testing.T, what, reason string) {
	t.Helper()
	message := fmt.Sprintf("needs %s, which .ci/install-producers installs: %s", what, reason)
	if slices.Contains(strings.Split(os.Getenv(testenv.RequireVariable), ","), "tools") {
		t.Fatal(message)
	}
	t.Skip(message)
}

// consume applies what comes to a queue by writing it down, in the table effects.
func consume(t *testing.T, inboxDB, broker, exchange, queue string) (health func() inbox.Health) {
	t.Helper()
	db := open(t, inboxDB)
	db.MustExec(`CREATE TABLE effects (seq bigint GENERATED ALWAYS AS IDENTITY, event_id text NOT NULL, body jsonb NOT NULL, key text NOT NULL,
		type text NOT NULL, correlation_id text NOT NULL, tenant text NOT NULL)`)
	in, err := inbox.New(db, "stock")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	source, err := inboxrabbit.NewSource(inboxrabbit.SourceConfig{
		URL: broker, Exchange: exchange, Queue: queue, Topics: []string{"order.changed"}, QueueType: inboxrabbit.Classic, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	write := func(ctx context.Context, tx inbox.Tx, m inbox.Message) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO effects (event_id, body, key, type, correlation_id, tenant) VALUES ($1, $2, $3, $4, $5, $6)`,
			m.ID, string(m.Payload), m.Key, m.Type, m.CorrelationID, m.Headers["tenant"])
		return err
	}
	consumer, err := inbox.NewConsumer(in, source, write, inbox.ConsumerConfig{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	testenv.Eventually(t, patience, "the subscription", func() bool {
		connected, _ := source.Health()
		return connected
	})
	return consumer.Health
}

// checkEffects compares what was applied with what was committed.
func checkEffects(t *testing.T, database string, committed []string) {
	t.Helper()
	db := open(t, database)
	var effects []struct {
		EventID       string `db:"event_id"`
		Body          string `db:"body"`
		Key           string `db:"key"`
		Type          string `db:"type"`
		CorrelationID string `db:"correlation_id"`
		Tenant        string `db:"tenant"`
	}
	if err := db.Select(&effects, `SELECT event_id, body, key, type, correlation_id, tenant FROM effects ORDER BY seq`); err != nil {
		t.Fatal(err)
	}
	var applied []string
	versions := make(map[string]int)
	for _, e := range effects {
		var body struct {
			EventID, OrderID, Note string
			Version                int
		}
		if err := json.Unmarshal([]byte(e.Body), &body); err != nil {
			t.Fatal(err)
		}
		applied = append(applied, e.EventID)
		if body.EventID != e.EventID || body.OrderID != e.Key || body.Note != "a\\b\nü" || e.Type != "OrderChanged" ||
			e.CorrelationID != "checkout-"+e.Key || e.Tenant != "acme" {
			t.Errorf("%+v", e)
		}
		if versions[e.Key]++; body.Version != versions[e.Key] {
			t.Errorf("%s: version %d where %d was to come", e.Key, body.Version, versions[e.Key])
		}
	}
	slices.Sort(applied)
	slices.Sort(committed)
	if !slices.Equal(applied, committed) {
		t.Errorf("applied\n%v, committed\n%v", applied, committed)
	}
	// All of every order have arrived.
	var rows []struct {
		ID      string `db:"id"`
		Version int    `db:"version"`
	}
	if err := db.Select(&rows, `SELECT id, version FROM orders`); err != nil {
		t.Fatal(err)
	}
	if len(rows) != orders {
		t.Errorf("%d orders, want %d", len(rows), orders)
	}
	for _, row := range rows {
		if versions[row.ID] != row.Version {
			t.Errorf("%s has version %d, and %d events were applied", row.ID, row.Version, versions[row.ID])
		}
	}
}
