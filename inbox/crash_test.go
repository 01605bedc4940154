package inbox_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/database"
)

// crashVariable tells the test's program, started once more, to be a consumer
// on the named database that dies at a marked place.
const crashVariable = "PULSE_TEST_INBOX_CRASH"

// crashExit is the exit code of a child that died on purpose.
const crashExit = 86

// Where a child may die.
const (
	inHandler  = "in the handler"
	beforeAck  = "between commit and ack"
	everywhere = "" // nowhere: the child handles what it gets
)

// childOrders is what a child gets on its standard input.
type childOrders struct {
	Database   string
	Kind       string // of consumer
	Place      string
	Culprit    string
	Deliveries []inbox.Delivery
}

// childReport is one settlement, a line on the child's standard output.
type childReport struct {
	ID     string
	Action inbox.Action
	Reason inbox.Reason
}

// runCrashingChild is the consumer process. It never returns in a child.
func runCrashingChild() {
	if os.Getenv(crashVariable) == "" {
		return
	}
	var orders childOrders
	if err := json.NewDecoder(os.Stdin).Decode(&orders); err != nil {
		panic(err)
	}
	db, _, err := database.Open(orders.Database, "child")
	if err != nil {
		panic(err)
	}
	in, err := inbox.New(db, "notifications")
	if err != nil {
		panic(err)
	}
	q := inboxtest.NewQueue()
	for _, d := range orders.Deliveries {
		q.Deliver(d)
	}
	var out sync.Mutex
	source := spy{q, func(s inbox.Settlement) {
		if orders.Place == beforeAck && s.Delivery.Message.ID == orders.Culprit {
			os.Exit(crashExit)
		}
		out.Lock()
		defer out.Unlock()
		_ = json.NewEncoder(os.Stdout).Encode(childReport{s.Delivery.Message.ID, s.Action, s.Reason})
	}}
	handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		err := record(ctx, tx, msg)
		if orders.Place == inHandler && msg.ID == orders.Culprit {
			os.Exit(crashExit)
		}
		return err
	}
	c, err := kinds[orders.Kind](in, db, source, handler, inbox.ConsumerConfig{
		Workers: 4, BatchSize: 5, CrashLimit: 3, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		for !q.Empty() {
			<-time.After(5 * time.Millisecond)
		}
		stop()
	}()
	if err := c.Run(ctx); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// broker keeps the deliveries from one child to the next.
type broker struct {
	t        *testing.T
	database string
	kind     string
	queue    []inbox.Delivery
	settled  map[string][]childReport
}

// child runs one consumer process on what is in the queue. What it had when it
// died comes again, marked redelivered.
func (b *broker) child(place, culprit string) (died bool) {
	b.t.Helper()
	return b.start(place, culprit)()
}

// start starts a child; the function returned waits for its end.
func (b *broker) start(place, culprit string) (wait func() (died bool)) {
	b.t.Helper()
	orders, err := json.Marshal(childOrders{b.database, b.kind, place, culprit, b.queue})
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.CommandContext(b.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashVariable+"=1")
	cmd.Stdin = strings.NewReader(string(orders))
	cmd.Stderr = b.t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	return func() bool {
		b.t.Helper()
		b.read(stdout)
		err := cmd.Wait()
		exit, failed := errors.AsType[*exec.ExitError](err)
		if err != nil && (!failed || exit.ExitCode() != crashExit) {
			b.t.Fatalf("child: %v", err)
		}
		for i := range b.queue {
			b.queue[i].Redelivered = true
		}
		return failed
	}
}

func (b *broker) read(stdout io.Reader) {
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var r childReport
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			b.t.Fatalf("child says %q: %v", lines.Text(), err)
		}
		b.settled[r.ID] = append(b.settled[r.ID], r)
		b.queue = slices.DeleteFunc(b.queue, func(d inbox.Delivery) bool { return d.Message.ID == r.ID })
	}
}

func newBroker(t *testing.T, url string, msgs []inbox.Message) (*broker, *sqlx.DB) {
	_, db := newInbox(t, url)
	b := &broker{t: t, database: url, kind: "NewConsumer", settled: map[string][]childReport{}}
	for _, m := range msgs {
		b.queue = append(b.queue, inbox.Delivery{Message: m})
	}
	return b, db
}

// TestConsumerCrashLoop: one message crashes the process each time. After a few
// restarts it is a dead letter, and the others of its batch are applied.
func TestConsumerCrashLoop(t *testing.T) {
	eachKindNamed(t, func(t *testing.T, url, kind string) {
		msgs := events(40, 40)
		culprit := msgs[17].ID
		b, db := newBroker(t, url, msgs)
		b.kind = kind
		crashes := 0
		for b.child(inHandler, culprit) {
			if crashes++; crashes > 10 {
				t.Fatal("it is still killing the process")
			}
		}
		// The first delivery leaves no trace; three noted starts then make the limit.
		if crashes != 4 {
			t.Errorf("%d crashes, want 4", crashes)
		}
		if got := b.settled[culprit]; len(got) != 1 || got[0].Action != inbox.ActionDeadLetter || got[0].Reason != inbox.ReasonCrashLoop {
			t.Errorf("the culprit was settled %+v, want a dead letter as a crash loop", got)
		}
		for _, id := range slices.Sorted(maps.Keys(b.settled)) {
			if id != culprit && b.settled[id][0].Action != inbox.ActionAck {
				t.Errorf("the neighbour %s was settled %+v", id, b.settled[id])
			}
		}
		wantOnce(t, db, append(msgs[:17:17], msgs[18:]...))
		inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM inbox_attempts`)
	})
}

// TestConsumerProcessKilled: the process is killed once, between any two steps, and
// the next one recovers.
func TestConsumerProcessKilled(t *testing.T) {
	eachKindNamed(t, func(t *testing.T, url, kind string) {
		for _, place := range []string{inHandler, beforeAck} {
			t.Run(place, func(t *testing.T) {
				msgs := events(20, 4)
				b, db := newBroker(t, url, msgs)
				b.kind = kind
				if !b.child(place, msgs[7].ID) {
					t.Fatal("the child did not die")
				}
				if b.child(everywhere, "") {
					t.Fatal("the second child died as well")
				}
				wantOnce(t, db, msgs)
				for id, reports := range b.settled {
					if last := reports[len(reports)-1]; last.Action != inbox.ActionAck {
						t.Errorf("%s was settled %s", id, fmt.Sprint(reports))
					}
				}
				if len(b.queue) != 0 || len(b.settled) != len(msgs) {
					t.Errorf("%d left in the queue, %d settled; want 0, %d", len(b.queue), len(b.settled), len(msgs))
				}
				inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM inbox_attempts`)
			})
		}
	})
}

// TestConsumerProcessesShareDatabase: several processes get a copy of each message at
// the same time.
func TestConsumerProcessesShareDatabase(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		msgs := events(200, 20)
		var brokers [3]*broker
		var waits [3]func() bool
		for i := range brokers {
			brokers[i], _ = newBroker(t, url, msgs)
		}
		for i, b := range brokers {
			waits[i] = b.start(everywhere, "")
		}
		for i, b := range brokers {
			if died := waits[i](); died || len(b.queue) != 0 {
				t.Errorf("process %d: died %t, %d messages not settled", i, died, len(b.queue))
			}
			for id, reports := range b.settled {
				if len(reports) != 1 || reports[0].Action != inbox.ActionAck {
					t.Errorf("process %d: %s was settled %v", i, id, reports)
				}
			}
		}
		wantOnce(t, openDB(t, url), msgs)
	})
}

// TestConsumerRunsSuspectsAlone: a message with an unfinished start may be what
// crashes the process, and messages that ran at the same time would be suspected
// as well.
func TestConsumerRunsSuspectsAlone(t *testing.T) {
	eachKind(t, func(t *testing.T, url string, kind newConsumer) {
		in, db := newInbox(t, url)
		msgs := events(60, 60)
		suspect := map[string]bool{}
		q := inboxtest.NewQueue()
		for i, m := range msgs {
			suspect[m.ID] = i%3 == 0
			if suspect[m.ID] {
				mustExec(t, db, `INSERT INTO inbox_attempts (consumer, event_id, started) VALUES ('notifications', $1, 1)`, m.ID)
			}
			q.Deliver(inbox.Delivery{Message: m, Redelivered: i%3 != 1})
		}
		var mu sync.Mutex
		inside := map[string]bool{}
		handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
			mu.Lock()
			inside[msg.ID] = true
			for id := range inside {
				if id != msg.ID && (suspect[id] || suspect[msg.ID]) {
					t.Errorf("%s and %s ran side by side", id, msg.ID)
				}
			}
			mu.Unlock()
			err := record(ctx, tx, msg)
			mu.Lock()
			delete(inside, msg.ID)
			mu.Unlock()
			return err
		}
		kind.consume(t, in, db, q, handler, inbox.ConsumerConfig{Workers: 6, BatchSize: 3})
		q.WaitUntilEmpty(t)
		wantOnce(t, db, msgs)
		inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM inbox_attempts`)
	})
}
