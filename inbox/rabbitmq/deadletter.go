package rabbitmq

import (
	"cmp"
	"context"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// DeadLetter is a message in a dead-letter queue. What its headers do not tell is
// empty or zero.
type DeadLetter struct {
	ID            string // of the event; empty: it has none
	Topic         string // as it was first published, where that can be told
	Type          string
	Key           string // of ordering
	CorrelationID string
	CausationID   string
	Producer      string
	OccurredAt    time.Time

	Consumer      string       // that dead-lettered it; empty: the broker did, or somebody else
	Reason        inbox.Reason // as the consumer gave it; else the broker's, such as "delivery_limit", or empty
	Attempts      int          // failures that were counted
	FirstError    string
	LastError     string
	FirstFailedAt time.Time // by the consumer, else when the broker dead-lettered it first
	LastFailedAt  time.Time // the same of the last time
	Exchange      string    // where it was first published

	Requeues int              // how often it was moved back from a dead-letter queue
	Earlier  []EarlierFailure // why it was there then, the last time first; some of them

	Body []byte // as the producer sent it, compressed if it was
	Raw  Raw    // everything that AMQP carries; not to be changed
}

// DeadLetters calls each with the dead letters that are there when it begins,
// in the order of the queue. It ends with the error that each returns, with
// ErrInUse while another consumer is subscribed, with an *IncompleteError where
// not all could be seen.
//
// AMQP has no way to read messages without taking them, and a broker may count
// returns: quorum queues before RabbitMQ 4.3 do, and delete a message that exceeds
// a delivery limit, which a policy may have set. There each message is replaced
// by a copy at the end of the queue, a few at a time, so that the queue has its
// old order when all have been seen. Elsewhere messages are held and requeued,
// and are there again a moment later; in a queue of more than 50,000 they are
// replaced as well. A process that is killed meanwhile leaves some copies beside
// their originals, some 500 at most, and loses nothing.
func (i *Inspector) DeadLetters(ctx context.Context, each func(DeadLetter) error) error {
	return i.deadLetters(ctx, i.names.DeadLetters, 0, each)
}

// DeadLettersIn is DeadLetters of another queue, such as the dead-letter queue of
// a service that is not a Source.
func (i *Inspector) DeadLettersIn(ctx context.Context, queue string, each func(DeadLetter) error) error {
	return i.deadLetters(ctx, queue, 0, each)
}

func (i *Inspector) deadLetters(ctx context.Context, queue string, limit int, each func(DeadLetter) error) error {
	l := newBrowser(i, queue, func(d *amqp.Delivery) error { return each(newDeadLetter(d)) })
	return l.run(ctx, limit)
}

// DeadLetterIDs returns the event ids of dead letters, as DeadLetters shows
// them; with a positive limit of that many at most. Messages without an id are
// left out, a missing queue has none.
func (i *Inspector) DeadLetterIDs(ctx context.Context, limit int) ([]string, error) {
	var ids []string
	err := i.deadLetters(ctx, i.names.DeadLetters, limit, func(d DeadLetter) error {
		if d.ID != "" {
			ids = append(ids, d.ID)
		}
		return nil
	})
	return ids, err
}

func newDeadLetter(d *amqp.Delivery) DeadLetter {
	m, _ := rabbit.ReadMessage(d) // as far as it can be read
	f := readFailures(d.Headers)
	first, last := deaths(d.Headers)
	requeues, _ := strconv.Atoi(text(d.Headers[headerRequeues])) // 0 where it is none
	return DeadLetter{
		ID: d.MessageId, Topic: firstTopic(d, m.Topic, first), Type: d.Type, Key: m.Key,
		CorrelationID: m.CorrelationID, CausationID: m.CausationID, Producer: m.Producer, OccurredAt: m.OccurredAt,
		Consumer: f.Consumer, Reason: cmp.Or(f.Reason, inbox.Reason(text(last["reason"]))), Attempts: max(0, f.Attempts),
		FirstError: f.FirstError, LastError: f.LastError,
		FirstFailedAt: cmp.Or(f.FirstFailedAt, deathTime(first)), LastFailedAt: cmp.Or(f.LastFailedAt, deathTime(last)),
		Exchange: cmp.Or(f.Exchange, text(first["exchange"])),
		Requeues: max(0, requeues), Earlier: readEarlier(d.Headers),
		Body: d.Body, Raw: rawOf(*d),
	}
}

// deaths returns the first and the last time that the broker itself has
// dead-lettered a message, as it describes them; nil: never.
func deaths(headers amqp.Table) (first, last amqp.Table) {
	all, _ := headers["x-death"].([]any) // the last one first
	if len(all) == 0 {
		return nil, nil
	}
	last, _ = all[0].(amqp.Table)
	first, _ = all[len(all)-1].(amqp.Table)
	return first, last
}

func deathTime(death amqp.Table) time.Time {
	at, _ := death["time"].(time.Time)
	if at.IsZero() {
		return at
	}
	return at.UTC()
}

// firstTopic is the routing key under which a message was first published: the
// consumer writes it to a header, the broker to its x-death. found is the header's
// text, or the present routing key.
func firstTopic(d *amqp.Delivery, found string, first amqp.Table) string {
	if _, known := d.Headers[wire.HeaderTopic]; known {
		return found
	}
	if keys, _ := first["routing-keys"].([]any); len(keys) > 0 {
		return cmp.Or(text(keys[0]), found)
	}
	return found
}
