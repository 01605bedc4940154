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
	// maxHeld is how many messages are held unacknowledged while a queue is
	// browsed. In a longer queue each message is replaced by a copy at the end, a
	// few at a time.
	maxHeld = 50_000
	// maxReplacing is how many messages are unacknowledged while they are
	// replaced: what a process that is killed returns to the broker.
	maxReplacing = 512
	// browseBytes bounds the messages that are in memory while a queue is browsed.
	browseBytes = 16 << 20
	// browseTimeout is how long the next message may take to come.
	browseTimeout = 10 * time.Second
	// leavingTimeout is the same in a queue whose messages leave it by themselves.
	leavingTimeout = 5 * time.Second
	// finishTimeout bounds requeuing what was seen.
	finishTimeout = 30 * time.Second
)

// browser reads the messages of a queue and leaves them there.
type browser struct {
	*Inspector
	queue string
	visit func(*amqp.Delivery) error
	sweep *Sweep                                       // nil: every message stays
	sort  func(context.Context, []amqp.Delivery) error // of a sweep: decides on messages and settles them
	// returning: messages are returned and never replaced, for retry queues, in
	// which a copy would begin to wait anew, and the consumed queue.
	returning bool

	channel     *amqp.Channel
	feed        *feed           // nil: not subscribed
	copies      *republisher    // publishes
	total       int             // messages to be seen
	seen        int             // so far
	window      int             // how many of the others may be unacknowledged
	alike       bool            // the first is one of the others
	replacing   bool            // every message is replaced by a copy
	tags        []string        // of the consumers: one for the first message, one for the others
	first       uint64          // tag of the first message
	firstCopied bool            // it was replaced
	acked       int             // of the others
	copied      []uint64        // tags of the others that were replaced, moved or dropped, and are not acknowledged yet
	rotated     int             // copies behind the others
	gone        int             // messages that were moved or dropped
	kept        uint64          // the last tag of the others that was not replaced
	left        []amqp.Delivery // that have come and were not replaced
}

func newBrowser(i *Inspector, queue string, visit func(*amqp.Delivery) error) *browser {
	return &browser{Inspector: i, queue: queue, visit: visit}
}

func (b *browser) run(ctx context.Context, limit int) error {
	q, err := b.alone(ctx)
	if err != nil || q.Messages == 0 {
		return err
	}
	if b.total = q.Messages; limit > 0 {
		b.total = min(b.total, limit)
	}
	walk := b.walk
	if b.sweep != nil {
		walk = b.walkAlike
	}
	if b.channel, err = b.Inspector.channel(ctx); err != nil {
		return err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	b.copies = newRepublisher(life, b.cfg, browseTimeout, func(context.Context, *rabbit.Conn) error { return nil })
	err = walk(ctx)
	left, finishErr := b.finish(life)
	end()
	b.copies.close()
	ended := errors.Is(err, ErrEnough)
	if ended {
		err = nil
	}
	switch {
	case err != nil || finishErr != nil:
		return fmt.Errorf("browse queue %q: %w", b.queue, errors.Join(err, finishErr))
	case ended:
		return nil
	case b.seen < b.total:
		return &IncompleteError{b.queue, b.total, b.seen}
	case b.replacing && left < b.total-b.gone: // some of what was seen are copies
		return &IncompleteError{b.queue, b.total, left}
	}
	return nil
}

// alone returns the queue once nobody consumes it. The broker may take a moment
// to forget a consumer that has gone, such as that of an earlier browser.
func (b *browser) alone(ctx context.Context) (amqp.Queue, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Second); ; {
		q, _, err := b.inspect(ctx, b.queue)
		if err != nil || q.Consumers == 0 {
			return q, err
		}
		if time.Now().After(deadline) {
			return q, fmt.Errorf("browse queue %q: %w, by %d consumers", b.queue, ErrInUse, q.Consumers)
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
func (b *browser) shared(ctx context.Context) error {
	q, _, err := b.inspect(ctx, b.queue)
	if others := q.Consumers - len(b.tags); err == nil && others > 0 {
		err = fmt.Errorf("%w, by %d consumers besides", ErrInUse, others)
	}
	return err
}

// walk visits the messages. The first, which has a consumer of its own, shows
// whether the others have to be replaced.
func (b *browser) walk(ctx context.Context) error {
	in, err := b.subscribe(ctx, "first", 1)
	if err != nil {
		return err
	}
	b.feed = newFeed(b.conn, in)
	batch, err := b.gather(ctx)
	if err != nil || len(batch) == 0 {
		return err
	}
	b.first = batch[0].DeliveryTag
	b.replacing = !b.returning && (b.counting || b.returnCounts(batch[0]) || b.total > maxHeld)
	switch err := b.take(ctx, batch); {
	case err != nil && ctx.Err() == nil && b.replacing && b.seen == 1 && !b.returnCounts(batch[0]):
		b.replacing = false // publishing is blocked or not allowed: one return is safe with any limit but 0
	case err != nil || b.total == 1:
		return err
	}
	if b.window = b.total - 1; b.replacing {
		b.window = min(b.window, maxReplacing)
	}
	if in, err = b.subscribe(ctx, "others", b.window); err != nil {
		return err
	}
	err = b.shared(ctx) // before the feed, which may pause the connection
	b.feed.follow(in)
	return cmp.Or(err, b.takeAll(ctx))
}

func (b *browser) takeAll(ctx context.Context) error {
	for b.seen < b.total {
		batch, err := b.gather(ctx)
		if len(batch) == 0 {
			return err
		}
		err = b.take(ctx, batch)
		b.feed.done(batch)
		if err != nil {
			return err
		}
	}
	return b.shared(ctx)
}

// returnCounts reports whether another return of a message counts towards a
// delivery limit.
func (b *browser) returnCounts(d amqp.Delivery) bool {
	return b.countsReturns && returns(d) > 0 && !b.returning
}

// subscribe consumes with a window. It does not end early with ctx: finish has to
// know which consumers there are.
func (b *browser) subscribe(ctx context.Context, tag string, window int) (<-chan amqp.Delivery, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var in <-chan amqp.Delivery
	err := b.conn.Do(context.WithoutCancel(ctx), func() (err error) {
		if err = b.channel.Qos(window, 0, false); err != nil {
			return err
		}
		in, err = b.channel.Consume(b.queue, tag, false, false, false, false, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	b.tags = append(b.tags, tag)
	return in, nil
}

// gather waits for messages and returns those that have arrived. It returns none
// when no more arrive in time.
func (b *browser) gather(ctx context.Context) ([]amqp.Delivery, error) {
	limit := browseTimeout
	if b.returning {
		limit = leavingTimeout
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case batch, open := <-b.feed.out:
		if !open {
			return nil, fmt.Errorf("%w while browsing", rabbit.ErrLost)
		}
		return batch, nil
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// take visits messages, and replaces those whose return would count.
func (b *browser) take(ctx context.Context, batch []amqp.Delivery) error {
	if b.sweep != nil {
		return b.sort(ctx, batch)
	}
	for i := range batch {
		if err := b.visit(&batch[i]); err != nil {
			b.left = append(b.left, batch...) // visited or not: to be requeued
			return err
		}
		b.seen++
	}
	if err := b.replace(ctx, batch, b.replacing); err != nil {
		return err
	}
	return b.acknowledgeSome()
}

// replace publishes copies of the messages whose return would count, or of all.
func (b *browser) replace(ctx context.Context, batch []amqp.Delivery, all bool) error {
	var transfers []*transfer
	var originals []amqp.Delivery
	for _, d := range batch {
		c, possible := b.exactCopy(d)
		if !possible || !all && !b.returnCounts(d) {
			b.keep(d)
			continue
		}
		originals = append(originals, d)
		transfers = append(transfers, &transfer{
			targets: []target{{b.queue, inbox.ActionRequeue}},
			compose: func(target, int) (rabbit.Publishing, error) { return c, nil },
		})
	}
	if len(transfers) == 0 {
		return nil
	}
	b.copies.send(ctx, transfers)
	var failed error
	for n, t := range transfers {
		switch d := originals[n]; {
		case !t.taken:
			b.left = append(b.left, d)
			failed = t.err
		case d.DeliveryTag == b.first:
			b.rotated++
			b.firstCopied = true // acknowledged last: its consumer would get another
		default:
			b.rotated++
			b.copied = append(b.copied, d.DeliveryTag)
		}
	}
	if failed != nil {
		return fmt.Errorf("replace a message by a copy, so that it need not be requeued: %w", failed)
	}
	return nil
}

func (b *browser) keep(d amqp.Delivery) {
	if d.DeliveryTag != b.first {
		b.kept = max(b.kept, d.DeliveryTag)
	}
}

// acknowledgeSome acknowledges what can be before the end.
func (b *browser) acknowledgeSome() error {
	if b.alike {
		return b.acknowledge(b.total - b.window)
	}
	return b.acknowledge(b.total - 1 - b.window)
}

// acknowledge acknowledges replaced messages, up to most of those behind the
// first: the broker delivers another for each, and has to stop at the last.
func (b *browser) acknowledge(most int) error {
	for len(b.copied) > 0 && b.acked < most {
		if err := b.channel.Ack(b.copied[0], false); err != nil {
			return err
		}
		b.copied = b.copied[1:]
		b.acked++
	}
	return nil
}

// exactCopy returns a copy that is like the message in everything but its
// count of returns; false where there can be none.
func (b *browser) exactCopy(d amqp.Delivery) (rabbit.Publishing, bool) {
	for _, name := range []string{"CC", "BCC"} {
		if _, has := d.Headers[name]; has {
			return rabbit.Publishing{}, false // it would go elsewhere as well
		}
	}
	if d.UserId != "" || d.Expiration != "" {
		return rabbit.Publishing{}, false // refused by the broker; would start again
	}
	c := copyOf(d, b.queue)
	for name, value := range d.Headers {
		if name != "x-delivery-count" && name != "x-acquired-count" {
			c.Headers[name] = value
		}
	}
	c.DeliveryMode = d.DeliveryMode
	return c, true
}

// finish ends the subscriptions, replaces what has arrived meanwhile and whose
// return would count, requeues the rest, and returns how many messages are in the
// queue then.
func (b *browser) finish(ctx context.Context) (left int, err error) {
	ctx, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	if b.feed != nil {
		b.feed.bytes.lift() // the answer is to be read
		err := b.conn.Do(ctx, func() error {
			for _, tag := range b.tags {
				if err := b.channel.Cancel(tag, false); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.conn.Close() // requeues everything
		}
		b.left = append(b.left, b.feed.stop()...)
		if err != nil {
			return 0, err
		}
	}
	undone := b.left
	b.left = nil
	replaceErr := b.replace(ctx, undone, b.replacing && !b.inPlace(undone))
	for _, d := range b.left { // what could not be is requeued
		b.keep(d)
	}
	err = b.conn.Do(ctx, func() error { return errors.Join(b.acknowledge(b.total), b.requeue()) })
	if err != nil {
		return 0, errors.Join(replaceErr, err)
	}
	// A quorum queue forgets acknowledgements that it has not got round to when
	// the channel closes; it lists the consumers until it has.
	q, err := b.alone(ctx)
	if errors.Is(err, ErrInUse) {
		err = nil // somebody else's by now
	}
	return q.Messages, errors.Join(replaceErr, err, b.conn.Do(ctx, b.channel.Close))
}

// requeue returns whatever is unacknowledged in its order: a quorum queue puts
// it behind the others in the order of the frames.
func (b *browser) requeue() error {
	var err error
	switch {
	case b.first == 0:
	case b.firstCopied:
		err = b.channel.Ack(b.first, false)
	default:
		err = b.channel.Nack(b.first, false, true)
	}
	if b.kept > 0 {
		err = errors.Join(err, b.channel.Nack(b.kept, true, true))
	}
	return err
}
