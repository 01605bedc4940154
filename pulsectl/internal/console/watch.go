package console

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// clockLayout is how a time of today is shown to people.
const clockLayout = "15:04:05"

// Clock formats a time of today for people.
func Clock(at time.Time) string { return at.Local().Format(clockLayout) }

// Redraws reports whether stdout is a terminal that shows results to a person
// and can be drawn anew.
func (c *IO) Redraws() bool {
	f := c.Resolved()
	return c.OutTTY && !c.Dumb && (f == Table || f == Wide)
}

// Watch calls look at an interval until ctx ends, and shows what it renders: on
// a terminal redrawn in place, elsewhere each after the other, in JSON one
// document a line. Look writes to the IO that it gets. An error of a look does
// not end the watch, except one of usage: it is shown, with the time since when,
// if the look has rendered nothing. Watch returns the error of the last look
// that was complete, or that of ctx if there was none.
func (c *IO) Watch(ctx context.Context, interval time.Duration, look func(context.Context, *IO) error) error {
	shows := newWatched(c, interval)
	defer shows.end()
	var last error
	for complete := false; ; complete = true {
		begun := c.Now()
		var out bytes.Buffer
		silent := *c
		silent.Out, silent.Err, silent.ErrTTY, silent.oneLine = &out, io.Discard, false, true
		err := look(ctx, &silent)
		switch {
		case ctx.Err() != nil && !complete:
			return ctx.Err()
		case ctx.Err() != nil:
			return last
		}
		if last = err; err != nil {
			f := *fail.From(err)
			if f.Kind == fail.Usage {
				return &f
			}
			f.Final = true
			last = &f
		}
		if err := shows.look(begun, out.String(), last); err != nil {
			return err
		}
		timer := time.NewTimer(interval - c.Now().Sub(begun))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return last
		}
	}
}

// watched shows one look after another.
type watched struct {
	c        *IO
	interval time.Duration
	block    *liveBlock // nil: cannot be redrawn
	stop     func()     // the redrawing

	mu    sync.Mutex
	text  string    // of the last look
	at    time.Time // of the last look, when it began
	next  time.Time // when the next look was to begin
	shown bool      // any look
	wrong string    // the error that is shown
	since time.Time // of that error
}

func newWatched(c *IO, interval time.Duration) *watched {
	w := &watched{c: c, interval: interval, stop: func() {}}
	if c.Redraws() {
		w.block = &liveBlock{w: c.Out, width: c.outWidth, height: c.OutHeight}
	}
	return w
}

// look shows what one look has rendered, or its error if it rendered nothing.
func (w *watched) look(at time.Time, text string, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	wrong := ""
	if err != nil && text == "" {
		wrong = err.Error()
	}
	if (wrong == "") != (w.wrong == "") {
		w.since = at
	}
	if w.block == nil {
		return w.print(text, wrong, err)
	}
	if wrong != "" {
		var out bytes.Buffer
		c := *w.c
		c.Err = &out
		c.Fail(fail.From(err))
		text = fmt.Sprintf("%sno answer since %s\n", out.String(), Clock(w.since))
	}
	w.text, w.at, w.wrong = text, at, wrong
	if w.next = at.Add(w.interval); w.next.Before(w.c.Now()) {
		w.next = w.c.Now()
	}
	w.draw()
	if !w.shown {
		w.shown = true
		w.stop = every(w.interval, w.interval, func() { // a look may take long
			w.mu.Lock()
			defer w.mu.Unlock()
			w.draw()
		})
	}
	return nil
}

// print writes a look where nothing can be redrawn. An error goes to stderr
// when it begins or changes.
func (w *watched) print(text, wrong string, err error) error {
	if wrong != "" && wrong != w.wrong {
		w.c.Fail(fail.From(err))
	}
	w.wrong = wrong
	if text == "" {
		return nil
	}
	if w.shown && !w.c.Structured() {
		text = "\n" + text
	}
	w.shown = true
	_, err = io.WriteString(w.c.Out, text)
	return err
}

func (w *watched) draw() {
	state := fmt.Sprintf("as of %s, every %s; Ctrl-C ends", Clock(w.at), clip.Duration(w.interval))
	if late := w.c.Now().Sub(w.next); late > patience {
		state = fmt.Sprintf("as of %s; the next look takes %s so far", Clock(w.at), late.Round(time.Second))
	}
	w.block.draw(w.text + w.c.Paint(Dim, state))
}

// end leaves what was drawn last, with the cursor below.
func (w *watched) end() {
	w.stop()
	if w.block != nil {
		w.block.end()
	}
}

// liveBlock is the last lines on a terminal, redrawn in place. As with liveLine
// the cursor is at their beginning between drawings: a terminal that becomes
// narrower breaks the lines below it, and the next drawing erases them.
type liveBlock struct {
	w             io.Writer
	width, height func() int
	shown         string // empty: nothing is drawn
}

func (b *liveBlock) draw(text string) {
	b.shown = text
	drawn, below := b.drawn()
	if below > 0 {
		drawn += fmt.Sprintf("\x1b[%dA", below)
	}
	fmt.Fprint(b.w, drawn+"\r")
}

// drawn returns the sequence that draws the lines, and how far below the first
// one it ends.
func (b *liveBlock) drawn() (sequence string, below int) {
	lines := strings.Split(b.shown, "\n")
	// The cursor has to get back to the first line: it must not scroll away.
	if rows := b.rows(); len(lines) > rows {
		hidden := len(lines) - rows + 1
		lines = append(lines[:rows-1:rows-1], fmt.Sprintf("… and %d more lines; the terminal is too low", hidden))
	}
	for i, line := range lines {
		lines[i] = cut(line, b.width()-1) + eraseLine
	}
	return "\r" + breakOff + strings.Join(lines, "\n") + breakOn + eraseRest, len(lines) - 1
}

// rows returns how many lines the terminal has.
func (b *liveBlock) rows() int {
	const least, assumed = 2, 24
	if b.height == nil {
		return assumed
	}
	if rows := b.height(); rows > 0 {
		return max(rows, least)
	}
	return assumed
}

func (b *liveBlock) end() {
	if b.shown != "" {
		drawn, _ := b.drawn()
		fmt.Fprintln(b.w, drawn)
		b.shown = ""
	}
}
