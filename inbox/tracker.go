package inbox

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// tracker records the claims that a handler of NewConsumerFunc makes with the
// context it was given. They show what the handler's error alone does not:
// whether nil means that a claim is committed, whether the message is a
// duplicate, and how far the handler's transaction came.
type tracker struct {
	in      *Inbox        // of the consumer; nil: it has none
	id      string        // of the message
	watched bool          // its start is recorded, and is to be removed with the claim
	hurry   bool          // claims were found locked a moment ago, see locks
	idle    time.Duration // bounds the time between two statements

	mu     sync.Mutex
	claims []trackedClaim
}

// trackedClaim is one call of Inbox.Claim.
type trackedClaim struct {
	in       *Inbox
	id       string
	err      error // of the call
	fresh    bool
	finished bool // the message's recorded start is removed in the same transaction
	at       time.Time
	idles    time.Duration // how long the session may idle in a transaction; 0: without limit
}

type trackerKey struct{}

func (t *tracker) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, trackerKey{}, t)
}

func trackerOf(ctx context.Context) *tracker {
	t, _ := ctx.Value(trackerKey{}).(*tracker)
	return t
}

func (t *tracker) add(c trackedClaim) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.claims = append(t.claims, c)
}

func (c *Consumer) tracker(msg Message, watched bool) *tracker {
	return &tracker{in: c.in, id: msg.ID, watched: watched, hurry: c.locks.recent(), idle: c.cfg.HandlerTimeout + idleMargin}
}

// made returns the calls so far. A handler that was left behind may make more.
func (t *tracker) made() []trackedClaim {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.claims)
}

// bounds are those of a claim in in.
func (t *tracker) bounds(in *Inbox) bounds {
	return bounds{lock: in.lockWait(t.hurry), idle: t.idle}
}

// finishes reports whether the claim of msg in in is to remove its recorded
// start.
func (t *tracker) finishes(in *Inbox, msg Message) bool {
	return t.watched && in == t.in && msg.ID == t.id
}

// selfClaimed is what the claims of a handler and its answer show.
type selfClaimed struct {
	outcome  claimState
	finished bool // the message's recorded start is gone
}

// confirm returns what became of msg when its handler answered nil, or the
// error with which it failed: the answer, as a *txError that says how far the
// handler's transaction came, or what is wrong with the answer.
func (t *tracker) confirm(ctx context.Context, msg Message, answer error) (selfClaimed, error) {
	var last trackedClaim // of those that were made, whether fresh or not
	claimed := false      // a fresh claim was made
	for _, c := range t.made() {
		last = c
		if !c.fresh {
			continue
		}
		claimed = true
		trouble := sqldb.Judge(answer)
		if trouble == sqldb.Idled || trouble == sqldb.Lost && ranOut(time.Since(c.at), c.idles) {
			return selfClaimed{}, &IdleTransactionError{Limit: c.idles, Err: answer}
		}
		if answer != nil && mayBeOfCommit(answer) {
			continue // the next attempt finds out
		}
		found, err := c.in.lookUp(ctx, []string{c.id})
		_, committed := found[c.id]
		switch {
		case answer == nil && err != nil:
			return selfClaimed{}, &txError{phase: confirming, err: errors.Join(errors.New("could not see whether the claim is committed"), err)}
		case answer == nil && !committed:
			return selfClaimed{}, &MisuseError{Problem: "answered nil, and the claim it has made is not committed: there is nothing to acknowledge"}
		case answer != nil && committed:
			return selfClaimed{}, &txError{phase: handling, err: answer, stray: []string{msg.ID}}
		}
	}
	switch {
	case answer == nil && last.err != nil && !errors.Is(last.err, ErrConflict):
		return selfClaimed{}, &txError{phase: unclaimed, err: &MisuseError{
			Problem: "answered nil, and its claim had failed: there is nothing to acknowledge", Err: last.err}}
	case answer == nil:
		made := selfClaimed{outcome: unseen, finished: last.finished}
		if last.in != nil && last.id == msg.ID && !last.fresh && last.err == nil {
			made.outcome = duplicate
		}
		return made, nil
	case claimFailed(last.err):
		if !errors.Is(answer, last.err) {
			answer = errors.Join(answer, last.err)
		}
		return selfClaimed{}, &txError{phase: claiming, lost: sqldb.Disconnected(last.err), err: answer}
	case claimed && last.err == nil:
		return selfClaimed{}, &txError{phase: handling, lost: t.in != nil && sqldb.Disconnected(answer), err: answer}
	}
	return selfClaimed{}, &txError{phase: unclaimed, lost: t.in != nil && sqldb.Disconnected(answer), err: answer}
}

// claimFailed reports whether a claim has failed by no fault of the handler's.
func claimFailed(err error) bool {
	trouble := sqldb.Judge(err)
	return trouble.Away() || trouble == sqldb.Lost || trouble == sqldb.SchemaBehind
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
