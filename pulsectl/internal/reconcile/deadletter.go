package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/asimalizada/pulse-events/inbox"
)

// DeadLetter is a message in the consumer's dead-letter queue.
type DeadLetter struct {
	ID       string       // of the event; empty: it has none
	Consumer string       // that set it aside, by its own word; empty: the broker did, or a tool
	Reason   inbox.Reason // empty: the same
	Body     []byte
}

// ErrNotRead is matched by errors of Broker.DeadLetters that say why the dead
// letters were not looked at, where looking would do harm or was not allowed.
var ErrNotRead = errors.New("not read")

// excuse drops from the missing events those whose message lies in the
// dead-letter queue: set aside by this consumer, with the body that the outbox
// has. A conflict is another body under the same id, and so excuses nothing. It
// returns how many letters there were.
func (v *verification) excuse(ctx context.Context) (read int, err error) {
	letters, err := sortUnique(ctx, v.letters(ctx, &read))
	if err != nil {
		return read, err
	}
	defer letters.close()
	next, stop := iter.Pull2(letters.all())
	defer stop()
	letter, err, more := next()
	return read, v.sift(ctx, func(ctx context.Context, chunk []candidate) ([]candidate, error) {
		bodies := make(map[string][]string) // of the letters, by event
		var inOutbox []string
		for _, c := range chunk {
			for more && err == nil {
				id, body, _ := strings.Cut(letter, "\x00")
				if id > c.id {
					break
				}
				if id == c.id {
					bodies[id] = append(bodies[id], body)
				}
				letter, err, more = next()
			}
			if err != nil {
				return nil, err
			}
			if bodies[c.id] != nil && c.inOutbox {
				inOutbox = append(inOutbox, c.id)
			}
		}
		want, err := v.bodies(ctx, inOutbox)
		if err != nil {
			return nil, err
		}
		var still []candidate
		for _, c := range chunk {
			body, known := want[c.id]
			excused := false
			for _, b := range bodies[c.id] {
				excused = excused || !known || b == body
			}
			switch {
			case excused:
				v.report.SetAside++
			case bodies[c.id] != nil:
				v.otherBodies++
				fallthrough
			default:
				still = append(still, c)
			}
		}
		return still, nil
	})
}

// letters yields event and hash of the body of each dead letter that may
// excuse something.
func (v *verification) letters(ctx context.Context, read *int) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		stopped := errors.New("enough")
		v.otherConsumers, v.otherBodies = nil, 0
		err := v.Broker.DeadLetters(ctx, func(d DeadLetter) error {
			*read++
			v.Progress.say("the dead letters: %s of %s read", Thousands(*read), Thousands(v.report.DeadLettered))
			switch {
			case d.ID == "" || d.Reason == inbox.ReasonConflict:
				return nil
			case !v.own(d.Consumer):
				v.foreignLetter(d.Consumer)
				return nil
			}
			hash := sha256.Sum256(d.Body)
			if !yield(d.ID+"\x00"+hex.EncodeToString(hash[:]), nil) {
				return stopped
			}
			return nil
		})
		switch {
		case err == nil, errors.Is(err, stopped):
		case errors.Is(err, ErrNotRead):
			yield("", err)
		default:
			yield("", fmt.Errorf("read the dead letters: %w", err))
		}
	}
}

// own reports whether a dead letter is one of this consumer, which goes by the
// name of its queue unless its source was given another.
func (v *verification) own(consumer string) bool {
	return consumer == "" || consumer == v.Consumer || consumer == v.Queue
}

// foreignLetter notes the consumer of a dead letter that excuses nothing here.
func (v *verification) foreignLetter(consumer string) {
	const enough = 5
	if v.otherConsumers == nil {
		v.otherConsumers = make(map[string]int)
	}
	if _, known := v.otherConsumers[consumer]; known || len(v.otherConsumers) < enough {
		v.otherConsumers[consumer]++
	}
}
