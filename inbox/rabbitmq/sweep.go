package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// Fate is what becomes of a dead letter.
type Fate int

// The fates.
const (
	Keep Fate = iota // it stays where it is
	Move             // it is published anew, and leaves the queue once the broker has confirmed that
	Drop             // it leaves the queue
)

// ErrEnough is returned by Sweep.Decide to end a sweep: the letter and those behind
// it stay.
var ErrEnough = errors.New("enough dead letters")

// Sweep is one pass over a dead-letter queue.
type Sweep struct {
	// Queue is the dead-letter queue. Defaults to that of the source.
	Queue string
	// Exchange and Key say where letters that move are published. Both empty stand
	// for the source's queue.
	Exchange, Key string
	// Limit, if positive, is how many letters the sweep looks at.
	Limit int
	// Window is how many letters may be unacknowledged at a time: what a process
	// that is killed leaves in the queue although it has moved them. Defaults to,
	// and is at most, 512. RabbitMQ ends the sweep if one of them is decided on
	// later than its consumer_timeout, 30 minutes, after it was delivered.
	Window int
	// Batch is how many letters are decided on, as ones that move, before they do.
	// Defaults to 256.
	Batch int
	// Decide is called with the letters that are there when the sweep begins, in the order of the
	// queue. It may take its time. Required.
	Decide func(DeadLetter) (Fate, error)
	// Commit, if set, is called before letters that were decided on are moved or dropped, a batch of
	// them at a time. With an error they stay, and the sweep ends.
	Commit func() error
	// Done, if set, is called with each letter that has moved or is about to
	// leave the queue as dropped; with an error one whose move was refused, and that stays.
	Done func(d DeadLetter, f Fate, err error)
}

// RefusedError says that the destination of a sweep does not take letters: it
// does not exist, or is full. Those that it has not taken stay.
type RefusedError struct {
	Exchange, Key string
	Err           error
}

func (e *RefusedError) Error() string {
	to := fmt.Sprintf("queue %q", e.Key)
	if e.Exchange != "" {
		to = fmt.Sprintf("exchange %q, routing key %q", e.Exchange, e.Key)
	}
	return fmt.Sprintf("%s does not take dead letters: %v", to, e.Err)
}
func (e *RefusedError) Unwrap() error { return e.Err }

// Sweep decides on the dead letters that are there when it begins, moves and
// drops some of them, and leaves the others in their order.
//
// A letter that moves is published with all its properties and headers, its history
// of failures in the header pulse-earlier-failures, and acknowledged once that is
// confirmed. A process that is killed in between leaves it in the dead-letter queue
// as well, as one of at most Window: an inbox skips the copy. Letters of one key
// move in the order of the queue: when one is refused, none of its key moves.
//
// Letters that stay are replaced by copies at the end of the queue, as DeadLetters
// describes it, and so are in their order again when the sweep has ended. Errors are
// those of DeadLetters, and *RefusedError.
func (i *Inspector) Sweep(ctx context.Context, s Sweep) error {
	if s.Decide == nil {
		return errors.New("rabbitmq sweep: Decide: is nil")
	}
	if s.Queue == "" {
		s.Queue = i.names.DeadLetters
	}
	if s.Exchange == "" && s.Key == "" {
		s.Key = i.names.Queue
	}
	if s.Window <= 0 || s.Window > maxReplacing {
		s.Window = maxReplacing
	}
	if s.Batch <= 0 || s.Batch > maxReplacing/2 {
		s.Batch = maxReplacing / 2
	}
	b := newBrowser(i, s.Queue, nil)
	b.sweep = &s
	sorting := sorter{browser: b, stuck: make(map[string]bool)}
	b.sort = sorting.sort
	err := b.run(ctx, s.Limit)
	if sorting.refused != nil {
		err = errors.Join(&RefusedError{s.Exchange, s.Key, sorting.refused}, err)
	}
	return err
}

// walkAlike visits all messages by one consumer, and replaces those that stay.
func (b *browser) walkAlike(ctx context.Context) error {
	b.replacing, b.alike = true, true
	b.window = min(b.total, b.sweep.Window)
	in, err := b.subscribe(ctx, "all", b.window)
	if err != nil {
		return err
	}
	err = b.shared(ctx) // before the feed, which may pause the connection
	b.feed = newFeed(b.conn, in)
	if err != nil {
		return err
	}
	return b.takeAll(ctx)
}

// inPlace reports whether messages, which were not decided on, can be returned to
// their place: nothing has been put behind the others yet, and it is the first
// return of each.
func (b *browser) inPlace(undone []amqp.Delivery) bool {
	return b.sweep != nil && b.rotated == 0 && !slices.ContainsFunc(undone, b.returnCounts)
}

// sorter settles the letters of a sweep.
type sorter struct {
	*browser
	stuck   map[string]bool // keys of letters that were refused
	refused error           // by the destination, which takes no more
}

// decided is a letter with its fate.
type decided struct {
	raw    amqp.Delivery
	letter DeadLetter
	fate   Fate
	moved  bool
}

// sort decides on a batch, in portions.
func (s *sorter) sort(ctx context.Context, batch []amqp.Delivery) error {
	for len(batch) > 0 {
		var portion []decided
		var end error
		for moving := 0; len(portion) < len(batch) && moving < s.sweep.Batch; {
			d := decided{raw: batch[len(portion)]}
			d.letter = newDeadLetter(&d.raw)
			if d.fate, end = s.sweep.Decide(d.letter); end != nil {
				break
			}
			if d.fate == Move {
				moving++
			}
			s.seen++
			portion = append(portion, d)
		}
		err := s.settle(ctx, portion)
		batch = batch[len(portion):]
		if err == nil && end == nil {
			err = s.acknowledgeSome()
		}
		if err != nil || end != nil {
			s.left = append(s.left, batch...)
			return cmp.Or(err, end)
		}
	}
	return nil
}

// settle does what was decided. What moves goes first: the letters that stay,
// those that were refused among them, keep their order.
func (s *sorter) settle(ctx context.Context, portion []decided) error {
	var err error
	if s.sweep.Commit != nil && slices.ContainsFunc(portion, func(d decided) bool { return d.fate != Keep }) {
		err = s.sweep.Commit()
	}
	committed := err == nil
	if committed {
		err = s.move(ctx, portion)
	}
	var stay []amqp.Delivery
	for _, d := range portion {
		switch {
		case d.fate == Drop && committed:
			s.remove(d, nil)
		case !d.moved:
			stay = append(stay, d.raw)
		}
	}
	if s.refused != nil && s.rotated == 0 { // the letters can stay where they are
		err = cmp.Or(err, ErrEnough)
	}
	if err != nil {
		s.left = append(s.left, stay...)
		return err
	}
	return s.replace(ctx, stay, s.replacing)
}

// remove has a letter acknowledged.
func (s *sorter) remove(d decided, err error) {
	if err == nil {
		s.copied = append(s.copied, d.raw.DeliveryTag)
		s.gone++
	}
	if s.sweep.Done != nil {
		s.sweep.Done(d.letter, d.fate, err)
	}
}

// move publishes the letters that move, and lets those stay that were refused.
// Letters of one key go one after the other, each when the one before is confirmed.
func (s *sorter) move(ctx context.Context, portion []decided) error {
	for {
		var round []*decided
		var transfers []*transfer
		keys := make(map[string]bool)
		for n := range portion {
			d := &portion[n]
			key := d.letter.Key
			switch {
			case d.fate != Move || d.moved:
			case s.refused != nil || key != "" && s.stuck[key]:
				d.fate = Keep
			case key == "" || !keys[key]:
				keys[key] = true
				round = append(round, d)
				transfers = append(transfers, s.newMove(d.raw))
			}
		}
		if len(round) == 0 {
			return nil
		}
		s.copies.send(ctx, transfers)
		var failed error
		for n, t := range transfers {
			d := round[n]
			switch refusal, is := t.err.(*refusedError); {
			case t.taken:
				d.moved = true
				s.remove(*d, nil)
				continue
			case !is && rabbit.ExchangeMissing(t.err):
				s.refused = errors.New("there is no such exchange (NOT_FOUND)")
			case !is:
				failed = fmt.Errorf("move a dead letter: %w", t.err)
			case isUnfit(refusal):
				s.stuck[d.letter.Key] = true
			default:
				s.refused = s.explain(refusal)
			}
			s.remove(*d, t.err)
			d.fate = Keep
		}
		if failed != nil {
			return failed
		}
	}
}

// explain says why the destination refuses letters.
func (s *sorter) explain(refusal *refusedError) error {
	for _, reason := range []error{errMissing, errNacked, errSilent} {
		switch {
		case !errors.Is(refusal, reason):
		case reason == errMissing && s.sweep.Exchange != "":
			return errors.New("no queue is bound for it (NO_ROUTE)")
		default:
			return reason
		}
	}
	return refusal
}

// newMove returns the transfer of a letter that starts afresh.
func (s *sorter) newMove(d amqp.Delivery) *transfer {
	return &transfer{
		targets: []target{{s.sweep.Key, inbox.ActionRequeue}},
		compose: func(_ target, frameMax int) (rabbit.Publishing, error) {
			c := s.freshCopy(d)
			room, err := rabbit.HeaderRoom(&c, frameMax)
			if err == nil && room < roomForCount {
				delete(c.Headers, headerEarlier)
				room, err = rabbit.HeaderRoom(&c, frameMax)
			}
			if err == nil && room < roomForCount {
				err = errors.New("its headers leave no room")
			}
			if err != nil {
				return c, &unfitError{err}
			}
			return c, nil
		},
	}
}

// freshCopy returns the copy of a letter whose attempts start at zero.
func (s *sorter) freshCopy(d amqp.Delivery) rabbit.Publishing {
	c := copyOf(d, s.sweep.Key)
	c.Exchange = s.sweep.Exchange
	first, _ := deaths(d.Headers)
	topic := firstTopic(&d, d.RoutingKey, first)
	if _, known := d.Headers[wire.HeaderTopic]; !known && topic != s.sweep.Queue {
		c.Headers[wire.HeaderTopic] = topic // the way back replaces the routing key
	}
	startAfresh(c.Headers, d.Headers)
	return c
}
