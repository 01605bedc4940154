package command

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// detachedEnv tells the process that runs in the background what it is.
const detachedEnv = "PULSE_DETACHED"

// logTail is how much of its log a stack that did not start gets to show.
const logTail = 4096

// upDetached starts this very command line again in the background, without
// --detach, and waits until the stack has noted that it is ready.
func (e *Env) upDetached(ctx context.Context, dir string, timeout time.Duration) error {
	if _, err := stack.Load(dir); err == nil {
		return errRunning()
	}
	child, err := stack.StartDetached(dir, withoutDetach(os.Args), detachedEnv+"=1")
	if err != nil {
		return fail.Wrap("cannot start the stack in the background", err)
	}
	var ready stack.State
	err = e.until(ctx, timeout, "the stack to be ready", func(context.Context) (bool, error) {
		s, err := stack.Load(dir)
		if err == nil {
			ready = s
			return true, nil
		}
		if code, ended := child.Ended(); ended {
			return false, &fail.Error{Kind: fail.KindOf(code), Message: "the stack did not start", Cause: errors.New(tail(stack.LogPath(dir)))}
		}
		return false, nil
	})
	if err != nil {
		// Nothing half-started stays behind.
		return errors.Join(err, child.Kill())
	}
	if e.IO.Structured() {
		return console.RenderOne(e.IO, stateColumns, ready.Redacted())
	}
	e.announce(ready)
	e.IO.Notef("its log: %s", stack.LogPath(dir))
	return nil
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

func tail(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "its log cannot be read: " + err.Error()
	}
	if len(raw) > logTail {
		raw = raw[len(raw)-logTail:]
		if i := bytes.IndexByte(raw, '\n'); i >= 0 {
			raw = raw[i+1:]
		}
	}
	return strings.TrimSpace(string(raw))
}
