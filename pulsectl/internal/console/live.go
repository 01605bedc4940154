package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	liveInterval = 80 * time.Millisecond // between two drawings of a live line
	patience     = time.Second           // before a wait is reported
	remindEvery  = 10 * time.Second      // where lines cannot be redrawn
)

// Live shows a label and text() on stdout while work runs, and once more at its
// end: on a terminal redrawn in place, elsewhere only at the end.
func (c *IO) Live(label string, text func() string, work func() error) error {
	defer func() { c.Para(label, text()) }()
	if c.OutTTY && !c.Dumb {
		line := &liveLine{w: c.Out, width: c.outWidth}
		stop := every(0, liveInterval, func() { line.draw(label + text()) })
		defer line.clear()
		defer stop()
	}
	return work()
}

// Wait runs work, and after a second reports on stderr what it waits for, with
// the elapsed time: on a terminal in one line redrawn in place, elsewhere in a
// line from time to time. Output of work appears above.
func (c *IO) Wait(ctx context.Context, what func() string, work func(io.Writer) error) error {
	if c.ErrStructured() {
		return work(io.Discard)
	}
	const ending = "interrupted: finishing; press Ctrl-C again to stop at once"
	if !c.ErrTTY || c.Dumb {
		defer c.Remind(what)()
		defer interrupted(ctx, func() { c.Notef(ending) })()
		return work(c.Err)
	}
	line := &liveLine{w: c.Err, width: c.errWidth}
	text := c.waiting(what)
	stop := every(patience, liveInterval, func() {
		told := text()
		if errors.Is(ctx.Err(), context.Canceled) {
			told = ending
		}
		line.draw(c.PaintErr(Dim, told))
	})
	defer line.clear()
	defer stop()
	return work(line)
}

// interrupted calls f if ctx was cancelled and the work does not end at once,
// unless the returned function was called before.
func interrupted(ctx context.Context, f func()) (stop func()) {
	done := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-ctx.Done():
		case <-done:
			return
		}
		if !errors.Is(ctx.Err(), context.Canceled) { // its deadline passed
			return
		}
		timer := time.NewTimer(patience / 2)
		defer timer.Stop()
		select {
		case <-timer.C:
			f()
		case <-done:
		}
	})
	return func() {
		close(done)
		watch.Wait()
	}
}

// Remind writes a line to stderr from time to time that says what is waited
// for, after a second and until the returned function is called.
func (c *IO) Remind(what func() string) (stop func()) {
	text := c.waiting(what)
	return every(patience, remindEvery, func() { c.Notef("%s", text()) })
}

func (c *IO) waiting(what func() string) func() string {
	begun := c.Now()
	return func() string {
		return fmt.Sprintf("waiting for %s (%s)", visible(what()), c.Now().Sub(begun).Round(time.Second))
	}
}

// every calls f after a first delay and then at an interval, until the returned
// function is called, which waits for a running call. It may be called again.
func every(first, interval time.Duration, f func()) (stop func()) {
	done := make(chan struct{})
	var calls sync.WaitGroup
	calls.Go(func() {
		next := time.NewTimer(first)
		defer next.Stop()
		for {
			select {
			case <-next.C:
				f()
				next.Reset(interval)
			case <-done:
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		close(done)
		calls.Wait()
	})
}

// liveLine is the last line on a terminal, redrawn in place. Between drawings
// the cursor is in its first column: when the terminal becomes narrower and
// breaks the line in two, the cursor moves to the first part, and the next
// drawing erases both. While the line is drawn, line wrapping is off: the
// terminal may already be narrower than when it was measured.
type liveLine struct {
	w     io.Writer
	width func() int

	mu    sync.Mutex
	shown string // empty: nothing is drawn
	open  []byte // the beginning of an unfinished line
}

const (
	breakOff  = "\x1b[?7l"
	breakOn   = "\x1b[?7h"
	eraseRest = "\x1b[J"
	eraseLine = "\x1b[K"
	// tmux keeps a copy in its history if the line is erased from the first
	// column.
	eraseBelow = "\r " + eraseRest + "\r" + eraseLine
)

func (l *liveLine) draw(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// The last column stays free: some terminals wrap when it is used.
	l.shown = cut(text, l.width()-1)
	fmt.Fprint(l.w, l.drawn())
}

// drawn returns the sequence that draws the line and returns to the first
// column.
func (l *liveLine) drawn() string { return "\r" + breakOff + l.shown + breakOn + eraseRest + "\r" }

// clear erases the line, and ends an unfinished line above it.
func (l *liveLine) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shown != "" {
		fmt.Fprint(l.w, eraseBelow)
		l.shown = ""
	}
	if len(l.open) > 0 {
		_, _ = l.w.Write(append(l.open, '\n'))
		l.open = nil
	}
}

// Write writes whole lines above the live one.
func (l *liveLine) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, p...)
	end := bytes.LastIndexByte(l.open, '\n') + 1
	if end == 0 {
		return len(p), nil
	}
	whole := l.open[:end]
	if l.shown != "" {
		whole = fmt.Append(nil, eraseBelow, string(whole), l.drawn())
	}
	l.open = append([]byte(nil), l.open[end:]...)
	if _, err := l.w.Write(whole); err != nil {
		return 0, err
	}
	return len(p), nil
}
