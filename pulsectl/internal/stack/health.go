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
)

const (
	healthInterval = 500 * time.Millisecond
	// unhealthyLimit is how long a container may be unhealthy: it may be about
	// to find its database again.
	unhealthyLimit = 30 * time.Second
	restartLimit   = 3
	lookLimit      = 20 * time.Second // at what went wrong
	shownLogs      = 15               // lines
)

// UnhealthyError: a container did not become healthy.
type UnhealthyError struct {
	Container compose.Container
	Logs      string // the end of them
	Err       error  // what made us look; the context's error where time was up
}

func (e *UnhealthyError) Error() string {
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

func (e *UnhealthyError) Unwrap() error { return e.Err }

// AwaitHealthy waits until these services of a project run and are healthy;
// no service: all of them. wait tells what is waited for.
func AwaitHealthy(ctx context.Context, project string, wait Waiter, services ...string) error {
	w := &watch{project: project, services: services, changed: func(compose.Container) {}}
	err := wait(ctx, w.line, func(io.Writer) error {
		_, err := w.await(ctx)
		return err
	})
	if err != nil {
		return whyNotUp(ctx, project, err)
	}
	return nil
}

// Waiter tells what is waited for while work runs, and shows what work writes.
type Waiter func(ctx context.Context, what func() string, work func(io.Writer) error) error

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
			return c.Service == credentialsService || len(w.services) > 0 && !slices.Contains(w.services, c.Service)
		})
		if len(list) == 0 {
			return nil, fmt.Errorf("project %s has no containers", w.project)
		}
		var waiting []string
		for _, c := range list {
			if err := w.look(c); err != nil {
				return nil, err
			}
			if !c.Healthy() {
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

// look tells of changes, and gives up on a container that will not recover.
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
		return &UnhealthyError{Container: c}
	}
	return nil
}

// whyNotUp finds the container that is to blame for err, and what it wrote.
// An interrupted wait has no one to blame.
func whyNotUp(ctx context.Context, project string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookLimit)
	defer cancel()
	blamed, known := errors.AsType[*UnhealthyError](err)
	if !known {
		list, listErr := compose.Containers(ctx, project)
		if listErr != nil {
			return err
		}
		i := slices.IndexFunc(list, broken)
		if i < 0 && errors.Is(err, context.DeadlineExceeded) { // then whatever is not there yet
			i = slices.IndexFunc(list, func(c compose.Container) bool { return c.Service != credentialsService && !c.Healthy() })
		}
		if i < 0 {
			return err
		}
		blamed = &UnhealthyError{Container: list[i], Err: err}
	}
	if logs, err := compose.Logs(ctx, blamed.Container, shownLogs); err == nil {
		blamed.Logs = logs
	}
	return blamed
}

// broken: it will not become healthy by waiting.
func broken(c compose.Container) bool {
	switch c.Condition() {
	case "unhealthy", "restarting", "dead":
		return true
	case "exited":
		return c.ExitCode != 0
	}
	return false
}
