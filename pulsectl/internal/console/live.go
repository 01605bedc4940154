package console

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// liveInterval is how often a live line is drawn anew.
const liveInterval = 80 * time.Millisecond

// Live shows line() on stdout while work runs, and once more when it has
// ended: on a terminal drawn again and again in place, elsewhere only the end.
func (c *IO) Live(line func() string, work func() error) error {
	err := redraw(c.Out, c.OutTTY, line, work)
	c.Println(line())
	return err
}

// Progress shows line() on stderr while work runs, where that is a terminal.
func (c *IO) Progress(line func() string, work func() error) error {
	return redraw(c.Err, c.ErrTTY, func() string {
		text := []rune(line())
		if c.Width > 0 && len(text) >= c.Width { // a line that wraps cannot be redrawn
			text = append(text[:max(0, c.Width-2)], '…')
		}
		return string(text)
	}, work)
}

// redraw draws line() in place on a terminal until work ends, and wipes it.
func redraw(w io.Writer, tty bool, line func() string, work func() error) error {
	if !tty {
		return work()
	}
	var drawing sync.WaitGroup
	done := make(chan struct{})
	drawing.Go(func() {
		tick := time.NewTicker(liveInterval)
		defer tick.Stop()
		for {
			fmt.Fprintf(w, "\r%s\x1b[K", line())
			select {
			case <-tick.C:
			case <-done:
				fmt.Fprint(w, "\r\x1b[K")
				return
			}
		}
	})
	err := work()
	close(done)
	drawing.Wait()
	return err
}
