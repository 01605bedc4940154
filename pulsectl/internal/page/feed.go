package page

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/live"
)

const (
	// maxWatchers limits how many browsers are sent events at the same time.
	maxWatchers = 64
	// writeLimit is how long a browser may take to receive an event.
	writeLimit = 10 * time.Second
	// faultsLimit limits the look at the faults of the stack.
	faultsLimit = 2 * time.Second
)

// feed follows what the overview shows while somebody watches, once for all
// browsers.
type feed struct {
	h *Handler

	mu      sync.Mutex
	running *following // nil: nobody watches
}

// following is one run of a feed: from its first watcher until its last has left.
type following struct {
	users    int
	watchers map[chan string]bool
	board    *live.Board
	faults   []Fault
	cancel   context.CancelFunc
	done     chan struct{} // closed when its goroutines have ended
}

func newFeed(h *Handler) *feed { return &feed{h: h} }

// keep follows until ctx ends.
func (f *feed) keep(ctx context.Context) {
	leave := f.enter(nil)
	defer leave()
	<-ctx.Done()
}

// watch returns the overview as it changes, and a function to call at the end;
// false: too many watch already.
func (f *feed) watch() (changes chan string, leave func(), ok bool) {
	changes = make(chan string, 1)
	if leave = f.enter(changes); leave == nil {
		return nil, nil, false
	}
	return changes, leave, true
}

// enter adds a user of the feed, with its channel if it watches. It returns nil if
// there are too many.
func (f *feed) enter(changes chan string) (leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running == nil {
		f.running = f.start()
	}
	run := f.running
	if changes != nil {
		if len(run.watchers) >= maxWatchers {
			return nil
		}
		run.watchers[changes] = true
	}
	run.users++
	return func() { f.leave(run, changes) }
}

// leave ends the run if its last user leaves, and waits for its end.
func (f *feed) leave(run *following, changes chan string) {
	f.mu.Lock()
	delete(run.watchers, changes)
	run.users--
	last := run.users == 0
	if last {
		f.running = nil
	}
	f.mu.Unlock()
	if last {
		run.cancel()
		<-run.done
	}
}

func (f *feed) start() *following {
	ctx, cancel := context.WithCancel(context.Background())
	run := &following{watchers: map[chan string]bool{}, board: live.NewBoard(), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(run.done)
		var parts sync.WaitGroup
		parts.Go(func() { live.Follow(ctx, f.config(), func(s live.Sight) { f.observe(run, s) }) })
		parts.Go(func() { f.tell(ctx, run) })
		parts.Wait()
	}()
	return run
}

func (f *feed) config() live.Config {
	return live.Config{Interval: f.h.cfg.Interval, Now: f.h.cfg.Now, Open: func() (live.Servers, func() error) {
		return f.h.cfg.Servers, func() error { return nil }
	}}
}

func (f *feed) observe(run *following, s live.Sight) {
	if p, ok := errors.AsType[live.Panicked](s.Err); ok {
		f.h.cfg.Logger.Error("web page: a look panicked", "part", s.Part.String(), "error", p)
		s.Err = errors.New("a fault of this program; its log has the details")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	run.board.Observe(s)
}

// tell sends the overview to all watchers at an interval. One that is slow misses
// some.
func (f *feed) tell(ctx context.Context, run *following) {
	ticker := time.NewTicker(f.h.cfg.Interval)
	defer ticker.Stop()
	for {
		faults := f.h.faults(ctx)
		f.mu.Lock()
		run.faults = faults
		watched, board := len(run.watchers) > 0, run.board.Clone()
		f.mu.Unlock()
		if watched {
			f.send(run, f.h.liveHTML(board, faults))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (f *feed) send(run *following, html string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for changes := range run.watchers {
		select {
		case <-changes: // it has not taken the one before
		default:
		}
		changes <- html
	}
}

// now returns what is known at present, or looks.
func (f *feed) now(ctx context.Context) (*live.Board, []Fault) {
	f.mu.Lock()
	if run := f.running; run != nil && known(run.board) {
		defer f.mu.Unlock()
		return run.board.Clone(), run.faults
	}
	f.mu.Unlock()
	return live.Look(ctx, f.config()), f.h.faults(ctx)
}

func known(b *live.Board) bool {
	for _, c := range b.Conditions {
		if c.State == live.Connecting {
			return false
		}
	}
	return true
}

// liveHTML renders the part of the overview that changes.
func (h *Handler) liveHTML(b *live.Board, faults []Fault) string {
	var out bytes.Buffer
	f := frame{Handler: h, Data: h.picture(b, faults), Now: h.cfg.Now()}
	if err := templates["overview"].ExecuteTemplate(&out, "live", f); err != nil {
		h.cfg.Logger.Error("web page: cannot render the overview", "error", err)
		return ""
	}
	return out.String()
}

// events streams the overview, as server-sent events without a name.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) {
	if err := h.parameters(r).check(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	changes, leave, ok := h.feed.watch()
	if !ok {
		http.Error(w, fmt.Sprintf("%d browsers watch already", maxWatchers), http.StatusServiceUnavailable)
		return
	}
	defer leave()
	stream := http.NewResponseController(w)
	// The server's limits are for requests that end. Where they cannot be changed
	// the browser connects again.
	_ = stream.SetReadDeadline(time.Time{})
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep events back
	_ = stream.SetWriteDeadline(time.Now().Add(writeLimit))
	if stream.Flush() != nil {
		http.Error(w, "this server cannot stream", http.StatusInternalServerError)
		return
	}
	for {
		select {
		case html := <-changes:
			_ = stream.SetWriteDeadline(time.Now().Add(writeLimit))
			if _, err := fmt.Fprintf(w, "data: %s\n\n", strings.ReplaceAll(strings.TrimSpace(html), "\n", "\ndata: ")); err != nil || stream.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}
