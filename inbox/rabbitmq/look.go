package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/rabbit"
)

const (
	// holdAtMost is how many messages are held unacknowledged while a queue is
	// looked at. A longer queue is turned over: each message is replaced by a
	// copy at the end, a few at a time.
	holdAtMost = 50_000
	// turnAtOnce is how many messages are unacknowledged while a queue is turned
	// over: what a process that is killed returns to the broker.
	turnAtOnce = 512
	// lookBytes bounds the messages that are in memory during a look.
	lookBytes = 16 << 20
	// lookPatience is how long the next message may take to come.
	lookPatience = 10 * time.Second
	// tidyTimeout bounds giving back what was looked at, once the look has ended.
	tidyTimeout = 30 * time.Second
)

// look is one look at a queue.
type look struct {
	*Inspector
	queue string
	see   func(*amqp.Delivery) error

	channel     *amqp.Channel
	feed        *feed           // nil: not subscribed
	copies      *parking        // publishes
	total       int             // messages to be seen
	seen        int             // so far
	window      int             // how many of the others may be unacknowledged
	turning     bool            // every message is replaced by a copy
	tags        []string        // of the consumers: one for the first message, one for the others
	first       uint64          // tag of the first message
	firstCopied bool            // it was replaced
	acked       int             // of the others
	copied      []uint64        // tags of the others that were replaced and are not acknowledged yet
	kept        uint64          // the last tag of the others that was not replaced
	left        []amqp.Delivery // that have come and were not replaced
}

func newLook(i *Inspector, queue string, see func(*amqp.Delivery) error) *look {
	return &look{Inspector: i, queue: queue, see: see}
}

func (l *look) run(ctx context.Context, limit int) error {
	q, err := l.alone(ctx)
	if err != nil || q.Messages == 0 {
		return err
	}
	if l.total = q.Messages; limit > 0 {
		l.total = min(l.total, limit)
	}
	if l.channel, err = l.Inspector.channel(ctx); err != nil {
		return err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	l.copies = newParking(life, l.cfg, lookPatience, func(context.Context, *rabbit.Conn) error { return nil })
	err = l.walk(ctx)
	left, tidyErr := l.tidy(life)
	end()
	l.copies.close()
	switch {
	case err != nil || tidyErr != nil:
		return fmt.Errorf("look into queue %q: %w", l.queue, errors.Join(err, tidyErr))
	case l.seen < l.total:
		return &IncompleteError{l.queue, l.total, l.seen}
	case l.turning && left < l.total: // some of what was seen are copies
		return &IncompleteError{l.queue, l.total, left}
	}
	return nil
}

// alone returns the queue once nobody consumes it. The broker may take a moment
// to forget a consumer that has gone, such as that of an earlier look.
func (l *look) alone(ctx context.Context) (amqp.Queue, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Second); ; {
		q, _, err := l.look(ctx, l.queue)
		if err != nil || q.Consumers == 0 {
			return q, err
		}
		if time.Now().After(deadline) {
			return q, fmt.Errorf("look into queue %q: %w, by %d consumers", l.queue, ErrInUse, q.Consumers)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return q, context.Cause(ctx)
		}
	}
}

// shared returns ErrInUse where somebody else consumes the queue by now. (An
// exclusive consumer would be alone in a classic queue only.)
func (l *look) shared(ctx context.Context) error {
	q, _, err := l.look(ctx, l.queue)
	if others := q.Consumers - len(l.tags); err == nil && others > 0 {
		err = fmt.Errorf("%w, by %d consumers besides", ErrInUse, others)
	}
	return err
}

// walk sees the messages. The first, which has a consumer of its own, tells how
// to go about the others.
func (l *look) walk(ctx context.Context) error {
	in, err := l.subscribe(ctx, "first", 1)
	if err != nil {
		return err
	}
	l.feed = newFeed(l.conn, in)
	batch, err := l.gather(ctx)
	if err != nil || len(batch) == 0 {
		return err
	}
	l.first = batch[0].DeliveryTag
	l.turning = l.counting || l.wearsOut(batch[0]) || l.total > holdAtMost
	switch err := l.take(ctx, batch); {
	case err != nil && ctx.Err() == nil && l.turning && l.seen == 1 && !l.wearsOut(batch[0]):
		l.turning = false // publishing is blocked or not allowed: being given back once is safe with any limit but 0
	case err != nil || l.total == 1:
		return err
	}
	if l.window = l.total - 1; l.turning {
		l.window = min(l.window, turnAtOnce)
	}
	if in, err = l.subscribe(ctx, "others", l.window); err != nil {
		return err
	}
	err = l.shared(ctx) // before the feed, which may pause the connection
	l.feed.follow(in)
	for err == nil && l.seen < l.total {
		if batch, err = l.gather(ctx); len(batch) == 0 {
			return err
		}
		err = l.take(ctx, batch)
		l.feed.done(batch)
	}
	return cmp.Or(err, l.shared(ctx))
}

// wearsOut reports whether a message must not be given back once more.
func (l *look) wearsOut(d amqp.Delivery) bool { return l.countsReturns && returns(d) > 0 }

// subscribe consumes with a window. It is not given up half way: tidy has to
// know which consumers there are.
func (l *look) subscribe(ctx context.Context, tag string, window int) (<-chan amqp.Delivery, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var in <-chan amqp.Delivery
	err := l.conn.Do(context.WithoutCancel(ctx), func() (err error) {
		if err = l.channel.Qos(window, 0, false); err != nil {
			return err
		}
		in, err = l.channel.Consume(l.queue, tag, false, false, false, false, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.tags = append(l.tags, tag)
	return in, nil
}

// gather waits for messages and returns those that have come. It returns none
// when no more comes.
func (l *look) gather(ctx context.Context) ([]amqp.Delivery, error) {
	timer := time.NewTimer(lookPatience)
	defer timer.Stop()
	select {
	case batch, open := <-l.feed.out:
		if !open {
			return nil, fmt.Errorf("%w while looking", rabbit.ErrLost)
		}
		return batch, nil
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// take shows messages, and replaces those that must not be given back.
func (l *look) take(ctx context.Context, batch []amqp.Delivery) error {
	for i := range batch {
		if err := l.see(&batch[i]); err != nil {
			l.left = append(l.left, batch...) // shown or not: to be given back
			return err
		}
		l.seen++
	}
	if err := l.replace(ctx, batch, l.turning); err != nil {
		return err
	}
	return l.acknowledge(l.total - 1 - l.window)
}

// replace publishes copies of the messages that would not bear to be given
// back, or of all.
func (l *look) replace(ctx context.Context, batch []amqp.Delivery, all bool) error {
	var parcels []*parcel
	var originals []amqp.Delivery
	for _, d := range batch {
		c, possible := l.exactCopy(d)
		if !possible || !all && !l.wearsOut(d) {
			l.keep(d)
			continue
		}
		originals = append(originals, d)
		parcels = append(parcels, &parcel{
			stops:   []stop{{l.queue, inbox.ActionRequeue}},
			compose: func(stop, int) (rabbit.Publishing, error) { return c, nil },
		})
	}
	if len(parcels) == 0 {
		return nil
	}
	l.copies.send(ctx, parcels)
	var failed error
	for n, p := range parcels {
		switch d := originals[n]; {
		case !p.taken:
			l.left = append(l.left, d)
			failed = p.err
		case d.DeliveryTag == l.first:
			l.firstCopied = true // acknowledged last: its consumer would get another
		default:
			l.copied = append(l.copied, d.DeliveryTag)
		}
	}
	if failed != nil {
		return fmt.Errorf("replace a message by a copy, so that it need not be given back: %w", failed)
	}
	return nil
}

func (l *look) keep(d amqp.Delivery) {
	if d.DeliveryTag != l.first {
		l.kept = max(l.kept, d.DeliveryTag)
	}
}

// acknowledge takes replaced messages away, up to most of those behind the
// first: the broker delivers another for each, and is to stop at the last.
func (l *look) acknowledge(most int) error {
	for len(l.copied) > 0 && l.acked < most {
		if err := l.channel.Ack(l.copied[0], false); err != nil {
			return err
		}
		l.copied = l.copied[1:]
		l.acked++
	}
	return nil
}

// exactCopy returns a copy that is like the message in everything but its
// count of returns; false where there can be none.
func (l *look) exactCopy(d amqp.Delivery) (rabbit.Publishing, bool) {
	for _, name := range []string{"CC", "BCC"} {
		if _, has := d.Headers[name]; has {
			return rabbit.Publishing{}, false // it would go elsewhere as well
		}
	}
	if d.UserId != "" || d.Expiration != "" {
		return rabbit.Publishing{}, false // refused; begun anew
	}
	c := copyOf(d, l.queue)
	for name, value := range d.Headers {
		if name != "x-delivery-count" && name != "x-acquired-count" {
			c.Headers[name] = value
		}
	}
	c.DeliveryMode = d.DeliveryMode
	return c, true
}

// tidy ends the subscriptions, replaces what has come meanwhile and would not
// bear to be given back, gives back the rest, and returns how many messages are
// in the queue then.
func (l *look) tidy(ctx context.Context) (left int, err error) {
	ctx, cancel := context.WithTimeout(ctx, tidyTimeout)
	defer cancel()
	if l.feed != nil {
		l.feed.bytes.lift() // the answer is to be read
		err := l.conn.Do(ctx, func() error {
			for _, tag := range l.tags {
				if err := l.channel.Cancel(tag, false); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			l.conn.Close() // gives everything back
		}
		l.left = append(l.left, l.feed.stop()...)
		if err != nil {
			return 0, err
		}
	}
	undone := l.left
	l.left = nil
	replaceErr := l.replace(ctx, undone, l.turning)
	for _, d := range l.left { // what could not be is given back all the same
		l.keep(d)
	}
	err = l.conn.Do(ctx, func() error { return errors.Join(l.acknowledge(l.total), l.giveBack()) })
	if err != nil {
		return 0, errors.Join(replaceErr, err)
	}
	// A quorum queue forgets acknowledgements that it has not got round to when
	// the channel closes; it lists the consumers until it has.
	q, err := l.alone(ctx)
	if errors.Is(err, ErrInUse) {
		err = nil // somebody else's by now
	}
	return q.Messages, errors.Join(replaceErr, err, l.conn.Do(ctx, l.channel.Close))
}

// giveBack returns whatever is unacknowledged in its order: a quorum queue puts
// it behind the others in the order of the frames.
func (l *look) giveBack() error {
	var err error
	switch {
	case l.first == 0:
	case l.firstCopied:
		err = l.channel.Ack(l.first, false)
	default:
		err = l.channel.Nack(l.first, false, true)
	}
	if l.kept > 0 {
		err = errors.Join(err, l.channel.Nack(l.kept, true, true))
	}
	return err
}
