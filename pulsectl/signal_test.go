package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// signalLimit is how long a command of signal may run: one that never writes the text
// would never be told to end.
const signalLimit = 2 * time.Minute

// signal CODE SIGNALS TEXT command...: once the command has written TEXT it gets
// the signals, INT or TERM and separated by commas, one for each line that it
// writes from then on, and has to exit with CODE. All that it writes goes into
// the file named "said".
func signalCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: signal CODE SIGNALS TEXT command [argument...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	signals := strings.Split(args[1], ",")
	ctx, cancel := context.WithTimeout(context.Background(), signalLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[3], args[4:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), os.Environ()
	for _, name := range []string{"PATH", "HOME", "PULSE_STATE_DIR", "PULSE_ORDERS_ADDR", "PULSE_NOTIFICATIONS_ADDR", "PULSE_BROKER_ADDR", "PULSE_METRICS_ADDR", "PULSE_OUTBOX_DB", "PULSE_INBOX_DB", "PULSE_AMQP_URL",
		"PULSE_POSTGRES_PORT", "PULSE_AMQP_PORT", "PULSE_RABBITMQ_UI_PORT", "PULSE_ORDERS_STDLIB_PORT", "PULSE_NOTIFICATIONS_STDLIB_PORT",
		"PULSE_ORDERS_STDLIB_METRICS_PORT", "PULSE_NOTIFICATIONS_STDLIB_METRICS_PORT",
		"FAKE_UP", "FAKE_BUILD", "FAKE_CONTAINERS"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	output, input, err := os.Pipe()
	ts.Check(err)
	defer output.Close()
	cmd.Stdout, cmd.Stderr = input, input
	err = cmd.Start()
	_ = input.Close()
	ts.Check(err)
	var said strings.Builder
	for lines := bufio.NewScanner(output); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if len(signals) > 0 && strings.Contains(said.String(), args[2]) {
			ts.Check(cmd.Process.Signal(map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM}[signals[0]]))
			signals = signals[1:]
		}
	}
	err = cmd.Wait()
	ts.Check(os.WriteFile(ts.MkAbs("said"), []byte(said.String()), 0o600))
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		// A process that a signal has killed is reported as shells do.
		if got = exit.ExitCode(); got < 0 {
			got = 128 + int(exit.Sys().(syscall.WaitStatus).Signal())
		}
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d; it said\n%s", got, want, said.String())
	}
}
