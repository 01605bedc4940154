package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/compose"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

const (
	healthInterval = 500 * time.Millisecond
	// unhealthyLimit is how long a container may be unhealthy: it may be
	// reconnecting to its database.
	unhealthyLimit = 30 * time.Second
	restartLimit   = 3
	lookLimit      = 20 * time.Second // for finding out what went wrong
	shownLogs      = 15               // lines
)

// unhealthyError says that a container did not become healthy.
type unhealthyError struct {
	Container compose.Container
	Logs      string // the last lines
	Err       error  // the original error; the context's error on a timeout
}

func (e *unhealthyError) Error() string {
	c := e.Container
	text := fmt.Sprintf("container %s is %s", c.Name, c.Condition())
	switch {
	case c.Status == "exited":
		text += fmt.Sprintf(" with code %d", c.ExitCode)
	case c.Status == "restarting":
		text += fmt.Sprintf(", the last time it exited with code %d", c.ExitCode)
	case c.HealthOutput != "":
		text += "; its check says: " + strings.Join(strings.Fields(c.HealthOutput), " ")
	}
	return text
}

func (e *unhealthyError) Unwrap() error { return e.Err }

// awaitServices waits until these services of a stack run and are healthy.
func awaitServices(ctx context.Context, s State, out *console.IO, services ...string) error {
	w := &watch{project: s.Project, services: services, changed: func(compose.Container) {}}
	err := out.Wait(ctx, w.line, func(io.Writer) error {
		_, err := w.await(ctx)
		return err
	})
	if err == nil {
		return nil
	}
	if err = whyNotUp(ctx, s.Project, err); errors.Is(err, context.Canceled) {
		return err
	}
	return notHealthy(err, fmt.Sprintf("waited %s for %s", ChangeLimit, strings.Join(services, ", ")))
}

// notHealthy says which container failed, what it logged last, and how to see
// more; late is the message if only the time was up.
func notHealthy(err error, late string) error {
	kind := fail.General
	if errors.Is(err, context.DeadlineExceeded) {
		kind = fail.Timeout
	}
	if blamed, ok := errors.AsType[*unhealthyError](err); ok {
		f := &fail.Error{Kind: kind, Message: blamed.Error(), Hint: "see more: docker logs " + blamed.Container.Name}
		if blamed.Logs != "" {
			text := "its last lines are"
			for line := range strings.Lines(blamed.Logs) {
				text += "\n" + console.LogLine(line)
			}
			f.Cause = errors.New(text)
		}
		return f
	}
	if kind == fail.Timeout {
		return fail.New(kind, "see: docker ps --all", "%s", late)
	}
	return fail.Wrap("the containers do not run", err)
}

// late adds a hint to a time-out of a container's command.
func late(err error, c compose.Container) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fail.New(fail.Timeout, "see: docker inspect "+c.Name+"; docker logs "+c.Name, "container %s did not react within %s", c.Name, ChangeLimit)
	}
	return err
}

// watch follows the containers of a project until they are healthy.
type watch struct {
	project  string
	services []string // empty: all
	changed  func(compose.Container)

	conditions map[string]string
	unhealthy  map[string]time.Time
	restarts   map[string]int
	shown      atomic.Value // string
}

// line says what is still waited for.
func (w *watch) line() string {
	text, _ := w.shown.Load().(string)
	return cmp.Or(text, "the containers to start")
}

func (w *watch) await(ctx context.Context) ([]compose.Container, error) {
	w.conditions, w.unhealthy, w.restarts = map[string]string{}, map[string]time.Time{}, map[string]int{}
	tick := time.NewTicker(healthInterval)
	defer tick.Stop()
	for {
		list, err := compose.Containers(ctx, w.project)
		if err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(list, func(c compose.Container) bool {
			return isJob(c) && done(c) || len(w.services) > 0 && !slices.Contains(w.services, c.Service)
		})
		if len(list) == 0 {
			return nil, fmt.Errorf("project %s has no containers", w.project)
		}
		var waiting []string
		for _, c := range list {
			if err := w.look(c); err != nil {
				return nil, err
			}
			if !done(c) {
				waiting = append(waiting, c.Service+" ("+c.Condition()+")")
			}
		}
		if len(waiting) == 0 {
			return list, nil
		}
		w.shown.Store(fmt.Sprintf("%s; %d of %d are healthy", strings.Join(waiting, ", "), len(list)-len(waiting), len(list)))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// look reports changes, and gives up on a container that will not recover.
func (w *watch) look(c compose.Container) error {
	if condition := c.Condition(); w.conditions[c.ID] != condition {
		w.conditions[c.ID] = condition
		w.changed(c)
	}
	if c.Condition() != "unhealthy" {
		delete(w.unhealthy, c.ID)
	} else if _, known := w.unhealthy[c.ID]; !known {
		w.unhealthy[c.ID] = time.Now()
	}
	first, known := w.restarts[c.ID]
	if !known {
		first = c.Restarts
		w.restarts[c.ID] = first
	}
	since, unhealthy := w.unhealthy[c.ID]
	switch {
	case c.Status == "exited", c.Status == "dead",
		!c.Healthy() && c.Restarts-first >= restartLimit,
		unhealthy && time.Since(since) > unhealthyLimit:
		return &unhealthyError{Container: c}
	}
	return nil
}

// whyNotUp finds the container that caused err, and its log. An interrupted
// wait has no cause.
func whyNotUp(ctx context.Context, project string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookLimit)
	defer cancel()
	blamed, known := errors.AsType[*unhealthyError](err)
	if !known {
		list, listErr := compose.Containers(ctx, project)
		if listErr != nil {
			return err
		}
		i := slices.IndexFunc(list, broken)
		if i < 0 && errors.Is(err, context.DeadlineExceeded) { // otherwise the first one that is not ready
			i = slices.IndexFunc(list, func(c compose.Container) bool { return !done(c) })
		}
		if i < 0 {
			return err
		}
		blamed = &unhealthyError{Container: list[i], Err: err}
	}
	if logs, err := compose.Logs(ctx, blamed.Container, shownLogs); err == nil {
		blamed.Logs = logs
	}
	return blamed
}

// broken reports whether a container will not become healthy by waiting.
func broken(c compose.Container) bool {
	switch c.Condition() {
	case "unhealthy", "restarting", "dead":
		return true
	case "exited":
		return c.ExitCode != 0
	}
	return false
}
