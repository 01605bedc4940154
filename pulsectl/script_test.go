package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pulsectl": main})
}

// Scripts that need no service: usage, help, output, unreachable servers.
func TestScripts(t *testing.T) {
	run(t, "testdata/script/local", func(env *testscript.Env) error {
		// A free port, and one in use.
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		env.Defer(func() { _ = taken.Close() })
		env.Setenv("TAKEN", strconv.Itoa(taken.Addr().(*net.TCPAddr).Port))
		env.Setenv("NOWHERE", ln.Addr().String())
		// The directory of pulsectl, for a PATH with little else.
		pulsectl, err := exec.LookPath("pulsectl")
		if err != nil {
			return err
		}
		env.Setenv("BIN", filepath.Dir(pulsectl))
		return ln.Close()
	})
}

// Scripts on the embedded stack: SQLite and the development broker.
func TestScriptsEmbedded(t *testing.T) {
	run(t, "testdata/script/embedded", func(env *testscript.Env) error {
		setAddresses(env)
		return nil
	})
}

// Scripts on PostgreSQL and RabbitMQ, each with databases and a virtual host
// of its own.
func TestScriptsOnServices(t *testing.T) {
	outboxDB, broker := testenv.Postgres, testenv.RabbitMQ
	run(t, "testdata/script/services", func(env *testscript.Env) error {
		t := env.T().(testing.TB)
		setServices(env, outboxDB(t), testenv.Postgres(t), broker(t))
		return nil
	})
}

// Scripts that stop and start a broker of their own.
func TestScriptsOnOwnBroker(t *testing.T) {
	run(t, "testdata/script/outage", func(env *testscript.Env) error {
		t := env.T().(testing.TB)
		server := testenv.RabbitMQServer(t)
		setServices(env, testenv.Postgres(t), testenv.Postgres(t), server.URL())
		env.Setenv("STOP_CMD", server.StopCommand())
		env.Setenv("START_CMD", server.StartCommand())
		return nil
	})
}

func setServices(env *testscript.Env, outboxDB, inboxDB, broker string) {
	env.Setenv("PULSE_OUTBOX_DB", outboxDB)
	env.Setenv("PULSE_INBOX_DB", inboxDB)
	env.Setenv("PULSE_AMQP_URL", broker)
	setAddresses(env)
}

// setAddresses makes stacks listen on free ports, and ends them.
func setAddresses(env *testscript.Env) {
	env.Setenv("PULSE_ORDERS_ADDR", "127.0.0.1:0")
	env.Setenv("PULSE_NOTIFICATIONS_ADDR", "127.0.0.1:0")
	env.Setenv("PULSE_BROKER_ADDR", "127.0.0.1:0")
	env.Setenv("PULSE_METRICS_ADDR", "127.0.0.1:0")
	// No process is left after the script.
	env.Defer(func() {
		down := exec.Command("pulsectl", "down")
		down.Env = env.Vars
		_ = down.Run()
	})
}

func run(t *testing.T, dir string, setup func(*testscript.Env) error) {
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PULSE_STATE_DIR", filepath.Join(env.WorkDir, "state"))
			env.Setenv("HOME", env.WorkDir)
			return setup(env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code, "field": field, "let": let, "let-lines": letLines, "signal": signalCommand, "sql": sqlCommand, "tty": tty,
			"hold": hold, "held": held, "release": release, "publish": publish, "backup": backup, "restore": restore,
			"amqp": amqpCommand, "policy": policy, "transaction": transaction, "scrape": scrape, "standby": standby,
		},
		Condition: func(name string) (bool, error) { return name == filepath.Base(t.Name()), nil },
	})
}

// code N command...: the command exits with exactly N.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command [argument...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// tty FILE command...: the command runs on a terminal of $TTY columns where FILE
// is typed. All that the terminal got goes into the file raw, what it shows in
// the end into the file screen; nothing may be wider than it. With ! the
// command has to fail.
func tty(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] tty FILE command [argument...]")
	}
	columns := 160
	if text := ts.Getenv("TTY"); text != "" {
		var err error
		columns, err = strconv.Atoi(text)
		ts.Check(err)
	}
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), nil
	for _, name := range []string{"PATH", "HOME", "PULSE_STATE_DIR", "TERM", "NO_COLOR", "PULSE_OUTBOX_DB", "TMPDIR"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: uint16(columns)})
	ts.Check(err)
	defer terminal.Close()
	_, err = terminal.WriteString(ts.ReadFile(args[0]))
	ts.Check(err)
	raw, _ := io.ReadAll(terminal) // ends with an error when the command has ended
	err = cmd.Wait()
	ts.Check(os.WriteFile(ts.MkAbs("raw"), raw, 0o600))
	if (err != nil) != neg {
		ts.Fatalf("command ended with %v; the terminal got\n%s", err, raw)
	}
	lines, err := screen(string(raw), columns)
	if err != nil {
		ts.Fatalf("%v; the terminal got\n%q", err, raw)
	}
	ts.Check(os.WriteFile(ts.MkAbs("screen"), []byte(strings.Join(lines, "\n")+"\n"), 0o600))
}

// field PATH VALUE: the JSON on stdout has that value at the path, such as
// items.0.status; with ! it has not.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] field PATH VALUE")
	}
	got := lookUp(ts, args[0])
	if (got == args[1]) == neg {
		ts.Fatalf("%s is %q, want it (not: %v) to be %q", args[0], got, neg, args[1])
	}
}

// let NAME PATH: the value at the path goes into an environment variable.
func let(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: let NAME PATH")
	}
	ts.Setenv(args[0], lookUp(ts, args[1]))
}

// let-lines NAME...: the lines of stdout go into environment variables.
func letLines(ts *testscript.TestScript, neg bool, args []string) {
	lines := strings.Fields(ts.ReadFile("stdout"))
	if neg || len(lines) != len(args) {
		ts.Fatalf("let-lines: %d names for %d lines", len(args), len(lines))
	}
	for i, name := range args {
		ts.Setenv(name, lines[i])
	}
}

func lookUp(ts *testscript.TestScript, path string) string {
	var value any
	text := ts.ReadFile("stdout")
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		ts.Fatalf("stdout is no JSON: %v\n%s", err, text)
	}
	for key := range strings.SplitSeq(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			inner, found := v[key]
			if !found {
				ts.Fatalf("%s: no %q in %s", path, key, text)
			}
			value = inner
		case []any:
			if key == "length" {
				value = len(v)
				continue
			}
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(v) {
				ts.Fatalf("%s: no element %q in %s", path, key, text)
			}
			value = v[i]
		default:
			ts.Fatalf("%s: nothing inside %v", path, value)
		}
	}
	if value == nil {
		return "null"
	}
	return fmt.Sprint(value)
}

// sql VARIABLE STATEMENT: runs a statement in the database whose URL is in
// the environment variable.
func sqlCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sql VARIABLE STATEMENT")
	}
	db, _, err := database.Open(ts.Getenv(args[0]), "test")
	ts.Check(err)
	defer db.Close()
	_, err = db.Exec(args[1])
	ts.Check(err)
}
