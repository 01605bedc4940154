package console

import (
	"fmt"
	"sync"
	"time"
)

// liveInterval is how often a live line is drawn anew.
const liveInterval = 80 * time.Millisecond

// Live shows line() on stdout while work runs, and once more when it has
// ended: on a terminal drawn again and again in place, elsewhere only the end.
func (c *IO) Live(line func() string, work func() error) error {
	var drawing sync.WaitGroup
	done := make(chan struct{})
	if c.OutTTY {
		drawing.Go(func() {
			tick := time.NewTicker(liveInterval)
			defer tick.Stop()
			for {
				fmt.Fprintf(c.Out, "\r%s\x1b[K", line())
				select {
				case <-tick.C:
				case <-done:
					fmt.Fprint(c.Out, "\r\x1b[K")
					return
				}
			}
		})
	}
	err := work()
	close(done)
	drawing.Wait()
	c.Println(line())
	return err
}
