package stacks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// detachedEnv marks the process that runs in the background.
const detachedEnv = "PULSE_DETACHED"

// upDetached starts the same command line again in the background, without
// --detach, and waits until the stack has recorded that it is ready.
func upDetached(ctx context.Context, e *env.Env, dir string, timeout time.Duration) error {
	if s, err := stack.Load(dir); err == nil || errors.As(err, new(*stack.StartingError)) {
		return stack.AlreadyRunning(s, err)
	}
	child, err := stack.StartDetached(dir, withoutDetach(os.Args), detachedEnv+"=1")
	if errors.Is(err, errors.ErrUnsupported) {
		return fail.Usagef("leave --detach out, in a terminal of its own", "--detach: %v", err)
	}
	if err != nil {
		return stack.CannotStart(err)
	}
	log := stack.LogPath(dir)
	e.IO.Notef("starting in the background, its log: %s", log)
	var ready stack.State
	err = e.IO.Until(ctx, timeout, "the stack to be ready", func(context.Context) (string, error) {
		s, err := stack.Load(dir)
		if err == nil {
			ready = s
			return "", nil
		}
		if code, report, ended := child.Ended(); ended {
			return "", reported(code, report, log)
		}
		return cmp.Or(lastWords(log), "it does not answer yet"), nil
	})
	if err != nil {
		// Leave nothing half-started behind.
		if f := fail.From(err); f.Kind == fail.Timeout {
			f.Hint = "read its log: " + log
		}
		return errors.Join(err, child.Kill())
	}
	return announce(e, ready)
}

// report carries a fail.Error from a stack in the background to the process
// that started it.
type report struct {
	Message, Cause, Hint string
}

// tellParent reports the error that ends a stack in the background.
func tellParent(err error) {
	f := fail.From(err)
	r := report{Message: f.Message, Hint: f.Hint}
	if f.Cause != nil {
		r.Cause = f.Cause.Error()
	}
	if raw, err := json.Marshal(r); err == nil {
		stack.Report(raw)
	}
}

// reported returns why a stack in the background has ended: its own report, or
// else the end of its log.
func reported(code int, raw []byte, log string) error {
	var r report
	if json.Unmarshal(raw, &r) != nil || r.Message == "" {
		return &fail.Error{Kind: fail.KindOf(code), Message: fmt.Sprintf("the stack ended with exit code %d", code),
			Cause: errors.New(cmp.Or(lastWords(log), "its log is empty")), Hint: "read its log: " + log}
	}
	f := &fail.Error{Kind: fail.KindOf(code), Message: r.Message, Hint: r.Hint}
	if r.Cause != "" {
		f.Cause = errors.New(r.Cause)
	}
	return f
}

func withoutDetach(args []string) []string {
	var out []string
	for _, a := range args {
		switch strings.TrimLeft(a, "-") {
		case "detach", "d", "detach=true", "d=true":
			if strings.HasPrefix(a, "-") {
				continue
			}
		}
		out = append(out, a)
	}
	return out
}

// lastWords returns the message of the last line of a log.
func lastWords(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return console.LogLine(lines[len(lines)-1])
}
