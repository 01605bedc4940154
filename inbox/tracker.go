package inbox

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// tracker keeps the claims that a handler of NewConsumerFunc makes with the
// context it was given, so that its answer need not be trusted: nil is to mean
// that they are committed, and an error that they are not.
type tracker struct {
	idle time.Duration // how long the handler's transaction may idle

	mu     sync.Mutex
	claims []trackedClaim
}

// trackedClaim is a fresh claim.
type trackedClaim struct {
	in    *Inbox
	id    string
	at    time.Time
	idles time.Duration // how long the session may idle in a transaction; 0: without limit
}

type trackerKey struct{}

func (t *tracker) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, trackerKey{}, t)
}

func trackerOf(ctx context.Context) *tracker {
	t, _ := ctx.Value(trackerKey{}).(*tracker)
	return t
}

func (t *tracker) add(in *Inbox, id string, idles time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.claims = append(t.claims, trackedClaim{in, id, time.Now(), idles})
}

// confirm returns the handler's answer to msg, or what is wrong with it.
func (t *tracker) confirm(ctx context.Context, msg Message, answer error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.claims {
		trouble := sqldb.Judge(answer)
		if trouble == sqldb.Idled || trouble == sqldb.Lost && ranOut(time.Since(c.at), c.idles) {
			return &IdleTransactionError{Limit: c.idles, Err: answer}
		}
		if answer != nil && mayBeOfCommit(answer) {
			continue // the next attempt finds out
		}
		found, err := c.in.lookUp(ctx, []string{c.id})
		_, committed := found[c.id]
		switch {
		case answer == nil && err != nil:
			return errors.Join(errors.New("could not see whether the claim is committed"), err)
		case answer == nil && !committed:
			return &MisuseError{Problem: "answered nil, and the claim it has made is not committed: there is nothing to acknowledge"}
		case answer != nil && committed:
			return &txError{phase: handling, err: answer, stray: []string{msg.ID}}
		}
	}
	return answer
}

// mayBeOfCommit reports whether an error may be that of a commit of which it is
// not known whether it was done, rather than one that came before or after it.
func mayBeOfCommit(err error) bool {
	switch sqldb.Judge(err) {
	case sqldb.BadData, sqldb.BadStatement, sqldb.SchemaBehind:
		return false
	case sqldb.Foreign:
		return errors.Is(err, context.Canceled)
	}
	return true
}
