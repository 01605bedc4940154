package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// PanicError is a handler's panic.
type PanicError struct {
	Value any
	Stack []byte // of the goroutine that panicked
}

func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.Value) }

// HandlerTimeoutError says that a handler took longer than
// ConsumerConfig.HandlerTimeout.
type HandlerTimeoutError struct {
	Limit time.Duration
	Err   error // what the handler answered
}

func (e *HandlerTimeoutError) Error() string {
	return fmt.Sprintf("handler took longer than %v: %v", e.Limit, e.Err)
}
func (e *HandlerTimeoutError) Unwrap() error { return e.Err }

var (
	errGoexit = errors.New("handler ended its goroutine, by runtime.Goexit or by FailNow of a test")
	errStuck  = errors.New("it has not returned although its context has ended, and is left behind")
)

// safely turns a panic into an error.
func safely(handle func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return handle()
}

// answer is how a function has left.
type answer struct {
	err  error
	gone bool // with its goroutine
}

// runner is a goroutine that calls handlers, one after the other, for one worker,
// which must not end or hang with them.
type runner struct {
	work    chan func() error
	answers chan answer
}

func newRunner() *runner {
	h := &runner{work: make(chan func() error), answers: make(chan answer, 1)}
	go func() {
		gone := true
		defer func() {
			if gone {
				h.answers <- answer{errGoexit, true}
			}
		}()
		for f := range h.work {
			h.answers <- answer{err: safely(f)}
		}
		gone = false
	}()
	return h
}

// detached runs f in a goroutine of its own and returns its answer.
func detached(f func() error) error {
	h := newRunner()
	defer close(h.work)
	h.work <- f
	return (<-h.answers).err
}

// Once a handler's context has ended, the handler has as long as it had before
// to return, within these bounds.
const (
	minGrace = time.Second
	maxGrace = 5 * time.Second
)

func (c *Consumer) grace() time.Duration {
	return min(max(c.cfg.HandlerTimeout, minGrace), maxGrace)
}

// supervisor calls the handlers of one transaction, and leaves one behind that
// does not return.
type supervisor struct {
	w    *worker
	ctx  context.Context
	left chan struct{} // closed when a handler is left behind

	mu     sync.Mutex
	inside bool      // a handler is being called
	msg    Message   // its message
	due    time.Time // when it has to have returned at the latest
	over   bool      // left is closed: nothing of the transaction counts any more
	timer  *time.Timer
}

// errLeft: the handler was left behind, and nobody waits for it.
var errLeft = errors.New("it has returned too late")

// all runs the loop that calls the handlers apart from the worker's goroutine,
// and waits until it is done or a handler does not return. Then that is left
// behind, with the runner: a worker has more to do.
func (s *supervisor) all(loop func() error) error {
	w := s.w
	if w.runner == nil {
		w.runner = newRunner()
	}
	stop := context.AfterFunc(s.ctx, s.hurry)
	defer stop()
	w.runner.work <- loop
	var got answer
	select {
	case got = <-w.runner.answers:
	case <-s.left:
		got = answer{&HandlerTimeoutError{Limit: w.c.cfg.HandlerTimeout, Err: errStuck}, true}
		w.c.stuck.add(s.ctx, w.c, s.msg, w.runner)
	}
	if got.gone {
		w.runner = nil
	}
	if errors.Is(got.err, errLeft) { // it has returned after all, at that very moment
		return &HandlerTimeoutError{Limit: w.c.cfg.HandlerTimeout, Err: got.err}
	}
	return got.err
}

// each calls the handler of one message; limited is the context it works with.
func (s *supervisor) each(limited context.Context, msg Message, handle func() error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	limit := s.w.c.cfg.HandlerTimeout
	s.mu.Lock()
	s.inside, s.msg, s.due = true, msg, time.Now().Add(limit+s.w.c.grace())
	if s.timer == nil {
		s.timer = time.AfterFunc(time.Until(s.due), s.expire)
	} else {
		s.timer.Reset(time.Until(s.due))
	}
	s.mu.Unlock()

	err := safely(handle)

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return errLeft
	}
	s.inside = false
	s.timer.Stop()
	if err != nil && limited.Err() != nil && s.ctx.Err() == nil {
		return &HandlerTimeoutError{Limit: limit, Err: err}
	}
	return err
}

// hurry shortens the time of the handler that is being called, as all work in
// flight has been cut.
func (s *supervisor) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inside {
		s.due = time.Now().Add(s.w.c.grace())
		s.timer.Reset(s.w.c.grace())
	}
}

// expire leaves the handler behind that is being called, if its time is up.
func (s *supervisor) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inside && !s.over && !time.Now().Before(s.due) {
		s.over = true
		close(s.left)
	}
}

func (w *worker) supervise(ctx context.Context) *supervisor {
	return &supervisor{w: w, ctx: ctx, left: make(chan struct{})}
}

// closeRunner ends the goroutine of the worker's handlers.
func (w *worker) closeRunner() {
	if w.runner != nil {
		close(w.runner.work)
		w.runner = nil
	}
}

// late logs that a handler used its Tx when all was over.
func (c *Consumer) late(msg Message, err error) {
	c.log(context.Background(), slog.LevelError, "inbox: a handler has used its transaction after the commit; nothing was done, and its message is acknowledged",
		Delivery{Message: msg, Failures: msg.Attempt - 1}, err)
}

// stuckHandlers are those that were left behind and run still.
type stuckHandlers struct {
	mu     sync.Mutex
	events map[*runner]string // event ids
}

// add takes charge of a handler that does not return.
func (s *stuckHandlers) add(ctx context.Context, c *Consumer, msg Message, h *runner) {
	close(h.work)
	s.mu.Lock()
	if s.events == nil {
		s.events = make(map[*runner]string)
	}
	s.events[h] = msg.ID
	s.mu.Unlock()
	d := Delivery{Message: msg, Failures: msg.Attempt - 1}
	c.log(ctx, slog.LevelError, "inbox: a handler does not return; its worker goes on without it", d, errStuck)
	c.tell(partHandlers, s.err)
	since := time.Now()
	go func() {
		got := <-h.answers
		s.mu.Lock()
		delete(s.events, h)
		s.mu.Unlock()
		c.tell(partHandlers, s.err)
		c.log(ctx, slog.LevelWarn, "inbox: a handler that was left behind has returned", d, got.err, "after", time.Since(since))
	}()
}

// err names the events whose handlers have not returned; nil: there are none.
func (s *stuckHandlers) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) == 0 {
		return nil
	}
	ids := slices.Sorted(maps.Values(s.events))
	const shown = 5
	more := ""
	if len(ids) > shown {
		ids, more = ids[:shown], ", ..."
	}
	return fmt.Errorf("%d handlers have not returned although their context has ended, and are left behind: events %s%s",
		len(s.events), strings.Join(ids, ", "), more)
}
