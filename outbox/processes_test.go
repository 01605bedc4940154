package outbox

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
)

// What the test program does, in place of tests, when it is started with
// childVariable set to a task and a database.
const (
	childVariable = "OUTBOX_TEST_CHILD"
	childMigrates = "migrate"
	childEnqueues = "enqueue"
	childRelays   = "relay"
)

// childMessages is how many messages a child enqueues, each in a transaction of its own.
const childMessages = 50

func runChild() {
	task, url, asked := strings.Cut(os.Getenv(childVariable), " ")
	if !asked {
		return
	}
	db, err := databaseAt(url).open(url)
	if err == nil {
		var ob *Outbox
		if ob, err = New(db); err == nil {
			err = map[string]func(*Outbox) error{
				childMigrates: migrateInChild, childEnqueues: enqueueInChild, childRelays: relayInChild,
			}[task](ob)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func migrateInChild(ob *Outbox) error {
	applied, err := ob.Migrate(context.Background())
	fmt.Println("applied", len(applied))
	return err
}

// enqueueInChild commits messages of a few keys, each after one that is rolled
// back.
func enqueueInChild(ob *Outbox) error {
	for i := range childMessages {
		for _, end := range []func(*sqlx.Tx) error{(*sqlx.Tx).Rollback, (*sqlx.Tx).Commit} {
			tx, err := ob.db.Beginx()
			if err != nil {
				return err
			}
			m := NewMessage("t", nil)
			m.Key = fmt.Sprintf("key-%d-%d", os.Getpid(), i%10) // nobody else's
			if err := ob.Enqueue(context.Background(), tx, m); err != nil {
				return err
			}
			if err := end(tx); err != nil {
				return err
			}
		}
	}
	return nil
}

// relayInChild publishes by printing, until its standard input ends.
func relayInChild(ob *Outbox) error {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		bufio.NewReader(os.Stdin).ReadByte()
		cancel()
	}()
	cfg := eager()
	cfg.LeaseTTL = 10 * time.Second // which a process that gets no processor outlives
	var mu sync.Mutex
	relay, err := NewRelay(ob, publisherFunc(func(_ context.Context, msgs []Message) []error {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range msgs {
			fmt.Println(m.Seq, m.Key, m.ID)
		}
		return make([]error, len(msgs))
	}), cfg)
	if err != nil {
		return err
	}
	return relay.Run(ctx)
}

// child runs a process with a task to its end and returns what it printed.
func child(t *testing.T, task, url string) string {
	t.Helper()
	program := childProgram(t, task, url)
	out, err := program.Output()
	if err != nil {
		t.Errorf("%s: %v: %s", task, err, program.Stderr)
	}
	return string(out)
}

func childProgram(t *testing.T, task, url string) *exec.Cmd {
	program := exec.CommandContext(t.Context(), os.Args[0])
	program.Env = append(os.Environ(), childVariable+"="+task+" "+url)
	program.Stderr = new(strings.Builder)
	return program
}

// Processes enqueue and relay at once, on one database or one file: every
// committed message is published once, each key in order.
func TestRelayProcessesShareOutbox(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		const producers, relays = 3, 2
		url := d.create(t)
		db := d.connect(t, url)
		ob, err := New(db)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ob.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		var producing, relaying sync.WaitGroup
		outputs := make([]string, relays)
		var stops []func() error
		for i := range relays {
			program := childProgram(t, childRelays, url)
			stdin, err := program.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stops = append(stops, stdin.Close)
			relaying.Go(func() {
				out, err := program.Output()
				if err != nil {
					t.Errorf("relay: %v: %s", err, program.Stderr)
				}
				outputs[i] = string(out)
			})
		}
		eventually(t, "both relays to have their share", func() bool {
			found, err := ob.Relays(t.Context())
			return err == nil && len(found) == relays && len(found[0].Buckets) == buckets/2 && len(found[1].Buckets) == buckets/2
		})
		for range producers {
			producing.Go(func() { child(t, childEnqueues, url) })
		}
		producing.Wait()
		eventually(t, "everything to be published", func() bool {
			return number(t, db, `SELECT count(*) FROM outbox_messages WHERE status = 'published'`) == producers*childMessages
		})
		for _, stop := range stops {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
		relaying.Wait()

		seen := make(map[string]int)
		for i, output := range outputs {
			var msgs []Message
			for line := range strings.Lines(output) {
				var m Message
				var id string
				if _, err := fmt.Sscan(line, &m.Seq, &m.Key, &id); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				seen[id]++
				msgs = append(msgs, m)
			}
			if len(msgs) == 0 {
				t.Errorf("relay %d did nothing", i)
			}
			inOrder(t, msgs)
		}
		for id, n := range seen {
			if n > 1 {
				t.Errorf("%s was published %d times", id, n)
			}
		}
		if len(seen) != producers*childMessages {
			t.Errorf("%d messages were published, want %d", len(seen), producers*childMessages)
		}
		if n := number(t, db, `SELECT count(*) FROM outbox_messages`); n != producers*childMessages {
			t.Errorf("%d rows, want those of the committed transactions, %d", n, producers*childMessages)
		}
	})
}
