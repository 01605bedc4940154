package inbox

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// witness sees the claims that a handler of NewConsumerFunc makes with the
// context it was given, so that its answer need not be trusted: nil is to mean
// that they are committed.
type witness struct {
	idle time.Duration // how long the handler's transaction may idle

	mu     sync.Mutex
	claims []sighting
}

// sighting is a fresh claim.
type sighting struct {
	in    *Inbox
	id    string
	at    time.Time
	idles time.Duration // how long the session may idle in a transaction; 0: without limit
}

type witnessKey struct{}

func (w *witness) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, witnessKey{}, w)
}

func witnessOf(ctx context.Context) *witness {
	w, _ := ctx.Value(witnessKey{}).(*witness)
	return w
}

func (w *witness) saw(in *Inbox, id string, idles time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claims = append(w.claims, sighting{in, id, time.Now(), idles})
}

// confirm returns the handler's answer, or what is wrong with it.
func (w *witness) confirm(ctx context.Context, answer error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.claims {
		if answer != nil {
			if trouble := sqldb.Judge(answer); trouble == sqldb.Idled || trouble == sqldb.Lost && ranOut(time.Since(s.at), s.idles) {
				return &IdleTransactionError{Limit: s.idles, Err: answer}
			}
			continue
		}
		found, err := s.in.lookUp(ctx, []string{s.id})
		if err != nil {
			// Whether it is committed shows when the message is handled again.
			return errors.Join(errors.New("could not see whether the claim is committed"), err)
		}
		if _, committed := found[s.id]; !committed {
			return &MisuseError{Problem: "answered nil, and the claim it has made is not committed: there is nothing to acknowledge"}
		}
	}
	return answer
}
