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
	ID       string       // of the event; empty: unknown
	Consumer string       // the consumer that dead-lettered it, from its header; empty: the broker or a tool did
	Reason   inbox.Reason // empty: as for Consumer
	Body     []byte
}

// ErrNotRead is matched by errors of Broker.DeadLetters that say why the dead
// letters were not read, because that would do harm or was not allowed.
var ErrNotRead = errors.New("not read")

// excuse removes from the missing events those whose message is in the
// dead-letter queue: dead-lettered by this consumer, with the body that the
// outbox has. A conflict is another body under the same id, and therefore does
// not count. It returns how many dead letters there were.
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
		bodies := make(map[string][]string) // of the dead letters, by event
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
				v.report.UnappliedDeadLetters++
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

// letters yields event and body hash of each dead letter that may account for
// an event.
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

// own reports whether a dead letter is from this consumer, which has the name
// of its queue unless its source was given another.
func (v *verification) own(consumer string) bool {
	return consumer == "" || consumer == v.Consumer || consumer == v.Queue
}

// foreignLetter records the consumer of a dead letter that is not counted.
func (v *verification) foreignLetter(consumer string) {
	const enough = 5
	if v.otherConsumers == nil {
		v.otherConsumers = make(map[string]int)
	}
	if _, known := v.otherConsumers[consumer]; known || len(v.otherConsumers) < enough {
		v.otherConsumers[consumer]++
	}
}
