package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
)

// shrunkFile has the faults that suffice for a violation.
const shrunkFile = "shrunk.json"

// shrink looks for a part of the faults with which the verdict is violated as well,
// in a number of runs, and writes it into the directory of the run.
func shrink(ctx context.Context, e *env.Env, c chaos.Config, budget int) error {
	dir, all, runs := c.Dir, len(c.Faults), 0
	var failed error
	faults, calls := chaos.Shrink(c.Faults, budget, func(faults []chaos.Fault) bool {
		if ctx.Err() != nil || failed != nil {
			return false
		}
		runs++
		attempt := c
		attempt.Faults, attempt.Told = faults, nil
		attempt.Dir = filepath.Join(dir, fmt.Sprint("shrink-", runs))
		if failed = os.Mkdir(attempt.Dir, 0o700); failed != nil {
			return false
		}
		r, err := chaos.Run(ctx, attempt)
		violated := err == nil && r.Verdict() == check.Violated
		e.IO.Notef("run %d with %d of %d faults: %s", runs, len(faults), all, outcome(r, err))
		return violated
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failed != nil {
		return failed
	}
	c.Faults = faults
	err := write(dir, shrunkFile, func(w io.Writer) error {
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		return out.Encode(c.Record())
	})
	e.IO.Notef("%d of %d faults suffice, after %d runs: pulsectl chaos run --replay %s", len(faults), all, calls, console.Quoted(filepath.Join(dir, shrunkFile)))
	return err
}

func outcome(r *chaos.Result, err error) string {
	if err != nil {
		return err.Error()
	}
	return string(r.Verdict())
}
