package inbox

import (
	"context"
	"log/slog"
	"strings"
	"sync"
)

// unbatched are the kinds of messages whose handlers change their session, which
// no neighbour in a batch may see: once that is known they run alone.
type unbatched struct {
	mu    sync.RWMutex
	kinds map[kind]bool // true: what is changed outlasts the transaction
}

// kind is what messages with one handler have in common.
type kind struct{ topic, name string }

// maxUnbatched bounds what is remembered; others are found out each time.
const maxUnbatched = 1000

func (l *unbatched) has(m Message) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, found := l.kinds[kind{m.Topic, m.Type}]
	return found
}

// add reports whether there is news in it.
func (l *unbatched) add(m Message, lasting bool) bool {
	k := kind{m.Topic, m.Type}
	l.mu.Lock()
	defer l.mu.Unlock()
	known, found := l.kinds[k]
	if found && (known || !lasting) || !found && len(l.kinds) >= maxUnbatched {
		return false
	}
	if l.kinds == nil {
		l.kinds = make(map[kind]bool)
	}
	l.kinds[k] = lasting
	return true
}

// noteSessionChange remembers and logs that the handler of a message that ran
// alone has changed its session.
func (w *worker) noteSessionChange(ctx context.Context, d Delivery, done applied) {
	if len(done.changed) == 0 || !w.c.unbatched.add(d.Message, done.leftovers) {
		return
	}
	change := strings.Join(done.changed, ", ")
	if done.leftovers {
		w.c.log(ctx, slog.LevelWarn, "inbox: a handler leaves its session changed, and so costs a connection each time; "+
			"messages of this kind run alone from now on (prefer SET LOCAL)", d, nil, "type", d.Message.Type, "change", change)
		return
	}
	w.c.log(ctx, slog.LevelInfo, "inbox: a handler changes its session; messages of this kind run alone from now on", d, nil,
		"type", d.Message.Type, "change", change)
}
