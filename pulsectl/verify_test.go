package main

import (
	"cmp"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// Scripts that create each kind of fault for verify to find, on the embedded stack
// and on PostgreSQL and RabbitMQ.
func TestScriptsVerify(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		run(t, "testdata/script/verify", func(env *testscript.Env) error {
			setAddresses(env)
			env.Setenv("STACK", "embedded")
			env.Values["tools"] = new(tools)
			return nil
		})
	})
	t.Run("services", func(t *testing.T) {
		outboxDB, broker := testenv.Postgres, testenv.RabbitMQ
		run(t, "testdata/script/verify", func(env *testscript.Env) error {
			t := env.T().(testing.TB)
			setServices(env, outboxDB(t), testenv.Postgres(t), broker(t))
			env.Setenv("STACK", "external")
			env.Values["tools"] = new(tools)
			return nil
		})
	})
}

// tools are a script's own clients of the broker.
type tools struct {
	holder *amqp.Connection
	held   atomic.Int64
}

// channel connects to the broker of the script. TOOL_AMQP_URL is that of an
// embedded one as a stack prints it, which hides the password.
func channel(ts *testscript.TestScript) (*amqp.Connection, *amqp.Channel) {
	url := cmp.Or(ts.Getenv("PULSE_AMQP_URL"), ts.Getenv("TOOL_AMQP_URL"))
	conn, err := amqp.Dial(strings.Replace(url, ":xxxxx@", ":guest@", 1))
	ts.Check(err)
	ch, err := conn.Channel()
	ts.Check(err)
	return conn, ch
}

// hold get|consume QUEUE N: a tool takes N messages and does not acknowledge
// them until release. It waits for messages that it gets; held N waits for
// those that it consumes.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: hold get|consume QUEUE N")
	}
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	tool := ts.Value("tools").(*tools)
	conn, ch := channel(ts)
	tool.holder = conn
	ts.Defer(func() { _ = conn.Close() })
	if args[0] == "consume" {
		ts.Check(ch.Qos(n, 0, false))
		deliveries, err := ch.Consume(args[1], "tool", false, false, false, false, nil)
		ts.Check(err)
		go func() {
			for range deliveries {
				tool.held.Add(1)
			}
		}()
		return
	}
	for got := 0; got < n; {
		_, ok, err := ch.Get(args[1], false)
		ts.Check(err)
		if ok {
			got++
		}
	}
}

// held N: waits until the tool that consumes has N messages.
func held(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: held N")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	tool := ts.Value("tools").(*tools)
	for deadline := time.Now().Add(time.Minute); tool.held.Load() < int64(n); {
		if time.Now().After(deadline) {
			ts.Fatalf("the tool has %d messages, want %d", tool.held.Load(), n)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// release: the tool requeues what it holds.
func release(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(ts.Value("tools").(*tools).holder.Close())
}

// publish QUEUE ID BODY [HEADER=VALUE...]: a message goes into a queue.
func publish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: publish QUEUE ID BODY [HEADER=VALUE...]")
	}
	conn, ch := channel(ts)
	defer conn.Close()
	ts.Check(ch.Confirm(false))
	headers := amqp.Table{}
	for _, arg := range args[3:] {
		name, value, _ := strings.Cut(arg, "=")
		headers[name] = value
	}
	confirm, err := ch.PublishWithDeferredConfirm("", args[0], true, false, amqp.Publishing{
		MessageId: args[1], Body: []byte(args[2]), Headers: headers, DeliveryMode: amqp.Persistent})
	ts.Check(err)
	if !confirm.Wait() {
		ts.Fatalf("the broker refused the message")
	}
}

// backup VARIABLE keeps a copy of the database whose URL is in the environment
// variable; nobody may be connected to it.
func backup(ts *testscript.TestScript, neg bool, args []string) {
	copyDatabase(ts, args, func(file string) (from, to string) { return file, file + ".backup" },
		func(name string) []string { return []string{"CREATE DATABASE " + name + "_backup TEMPLATE " + name} })
}

// restore VARIABLE puts the copy in its place.
func restore(ts *testscript.TestScript, neg bool, args []string) {
	copyDatabase(ts, args, func(file string) (from, to string) { return file + ".backup", file },
		func(name string) []string {
			return []string{"DROP DATABASE " + name + " WITH (FORCE)", "CREATE DATABASE " + name + " TEMPLATE " + name + "_backup"}
		})
}

func copyDatabase(ts *testscript.TestScript, args []string, files func(string) (from, to string), statements func(name string) []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: backup|restore VARIABLE")
	}
	location := ts.Getenv(args[0])
	if file, isFile := strings.CutPrefix(location, "sqlite:"); isFile {
		from, to := files(file)
		for _, rest := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(to + rest)
		}
		// Not the file alone: what was committed last may be in its log yet.
		db, _, err := database.Open("sqlite:"+from, "test")
		ts.Check(err)
		defer db.Close()
		_, err = db.Exec(`VACUUM INTO $1`, to)
		ts.Check(err)
		return
	}
	u, err := url.Parse(location)
	ts.Check(err)
	name := `"` + strings.TrimPrefix(u.Path, "/") + `"`
	u.Path = "/postgres"
	db, _, err := database.Open(u.String(), "test")
	ts.Check(err)
	defer db.Close()
	for _, statement := range statements(name) {
		_, err := db.Exec(strings.ReplaceAll(statement, `"_backup`, `_backup"`))
		ts.Check(err)
	}
}
