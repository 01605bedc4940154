package journey

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

// lookTimeout bounds the look into all queues.
const lookTimeout = time.Minute

// readInbox reads what consumers have done with the messages.
func (f *finder) readInbox(ctx context.Context) {
	if f.Inbox == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	if f.instances == nil {
		instances, err := f.Inbox.Instances(ctx)
		if err != nil && !errors.Is(err, inbox.ErrSchema) {
			f.inboxFailed(err)
			return
		}
		f.instances = instances
	}
	for _, m := range f.found {
		seen, err := f.Inbox.Sightings(ctx, m.ID)
		if err != nil {
			f.inboxFailed(err)
			return
		}
		m.Inbox = nil
		for _, s := range seen {
			a := Application{Consumer: s.Consumer, AppliedAt: s.Record.ProcessedAt, Started: s.Started, StartedAt: s.StartedAt}
			if s.Applied() {
				m.applied[s.Consumer] = true
				m.Topic, m.CorrelationID = first(m.Topic, s.Record.Topic), first(m.CorrelationID, s.Record.CorrelationID)
				a.OtherBody = m.Outbox != nil && s.Record.PayloadHash != m.Outbox.hash && s.Record.PayloadHash != m.Outbox.inflated
			}
			m.Inbox = append(m.Inbox, a)
		}
	}
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// wanted reports whether queues may have the message, as far as the databases
// tell.
func (f *finder) wanted(m *Message) bool {
	if m.Outbox != nil && m.Outbox.Status != outbox.Published {
		return false
	}
	if f.Inbox == nil {
		return true
	}
	for _, a := range m.Inbox {
		if a.OtherBody {
			return true // the original may be a dead letter
		}
	}
	return !m.applied[f.Inbox.Consumer()]
}

// lookIntoQueues finds the messages in queues, if it is not known where they
// are.
func (f *finder) lookIntoQueues(ctx context.Context) {
	needed := len(f.found) == 0
	for _, m := range f.found {
		needed = needed || f.wanted(m) && (m.Asked || f.receives(ctx, m.Topic) == yes)
	}
	if f.Queues == nil || !needed && f.Look != LookAlways {
		return
	}
	begun := time.Now()
	limited, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	err := f.look(limited)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		f.queuesErr = err
		f.unseen("the queues: %v", err)
	default:
		f.looked = true
	}
	f.cost(time.Since(begun))
	// What was on its way may have been applied meanwhile.
	f.readInbox(ctx)
}

func (f *finder) look(ctx context.Context) error {
	i, err := inboxrabbit.OpenInspector(ctx, f.Queues.Source)
	if err != nil {
		return fail.CannotReach("broker", err)
	}
	defer i.Close()
	names := f.Queues.Names()
	type queue struct {
		name  string
		place Place
		delay time.Duration
	}
	// In the direction in which messages move, so that one that is on its way is
	// seen twice rather than missed.
	all := []queue{{names.Queue, InQueue, 0}}
	if !f.Queues.NoLadder {
		for _, r := range names.Retry {
			all = append(all, queue{r.Queue, InRetry, r.Delay})
		}
	}
	all = append(all, queue{names.DeadLetters, DeadLetters, 0})
	for _, q := range all {
		limit := f.LookLimit
		state := QueueState{Name: q.name, Place: q.place}
		if f.Look == LookNever || q.place == InQueue && f.Look != LookAlways {
			limit = 0
		}
		looked, err := i.Look(ctx, q.name, limit, func(m inboxrabbit.Queued) error {
			f.seen(m, q.name, q.place, q.delay)
			return nil
		})
		state.Missing, state.Ready, state.Consumers = looked.Missing, looked.There, looked.Consumers
		state.Seen, state.Copied, state.Counted = looked.Seen, looked.Replaced, looked.Counted
		if looked.There > 0 && looked.Seen == 0 {
			state.NotLooked = f.notLooked(q.place, looked)
		}
		var incomplete *inboxrabbit.IncompleteError
		switch {
		case err == nil:
		case errors.As(err, &incomplete):
			state.NotLooked = fmt.Sprintf("%d of %d messages were seen: the others have left it meanwhile, or somebody holds them", incomplete.Saw, incomplete.There)
		case errors.Is(err, inboxrabbit.ErrInUse):
			state.NotLooked = "somebody consumes it, from whom a look would take messages"
		default:
			return err
		}
		f.journey.Queues = append(f.journey.Queues, state)
	}
	return nil
}

// notLooked says why a queue with messages was not looked into.
func (f *finder) notLooked(place Place, l inboxrabbit.Looked) string {
	switch {
	case f.Look == LookNever:
		return "--look never"
	case l.Consumers > 0 && place == InQueue:
		return "its consumers are at it"
	case place == InQueue && f.Look != LookAlways:
		return "messages that are published meanwhile could overtake those that are looked at: --look always"
	}
	return fmt.Sprintf("it holds more than %d messages: --look-limit %d", f.LookLimit, l.There)
}

// seen notes a message that is in a queue, if it is one of those wanted.
func (f *finder) seen(q inboxrabbit.Queued, queue string, place Place, delay time.Duration) {
	m := f.byID[q.ID]
	if word := f.journey.Asked; m == nil && q.ID != "" && (q.ID == word || q.Key == word || q.CorrelationID == word) {
		if m = f.message(q.ID); m != nil && f.journey.Kind == "" {
			switch word {
			case q.ID:
				f.journey.Kind = KindEvent
			case q.Key:
				f.journey.Kind = KindKey
			default:
				f.journey.Kind = KindCorrelation
			}
		}
		if m != nil {
			m.Asked = true
		}
	}
	if m == nil {
		return
	}
	m.Topic, m.Type, m.Key = first(m.Topic, q.Topic), first(m.Type, q.Type), first(m.Key, q.Key)
	m.CorrelationID, m.CausationID = first(m.CorrelationID, q.CorrelationID), first(m.CausationID, q.CausationID)
	c := Copy{Queue: queue, Place: place, Position: q.Position, Attempts: q.Attempts, Reason: string(q.Reason),
		Error: q.LastError, FailedAt: q.LastFailedAt, Consumer: q.Consumer}
	if place == InRetry && !q.LastFailedAt.IsZero() {
		c.DueAt = q.LastFailedAt.Add(delay)
	}
	m.Copies = append(m.Copies, c)
}

// cost says what the look into the queues has cost.
func (f *finder) cost(took time.Duration) {
	seen, copied, counted := 0, 0, 0
	for _, q := range f.journey.Queues {
		seen += q.Seen
		if q.Copied {
			copied += q.Seen
		}
		if q.Counted {
			counted += q.Seen
		}
	}
	if seen == 0 {
		return
	}
	text := fmt.Sprintf("looking has taken %s from the queues and put them back, within %v", overview.Many(seen, "message"), took.Round(time.Millisecond))
	if copied > 0 {
		text += fmt.Sprintf("; %d of them as copies, so that it counts towards no delivery limit", copied)
	}
	if counted > 0 {
		text += fmt.Sprintf("; for %d it counts towards a delivery limit, if their queue has one", counted)
	}
	f.note("%s", text)
}

// receives reports whether the consumer gets messages of a topic.
func (f *finder) receives(ctx context.Context, topic string) tristate {
	known := f.gets[topic]
	switch {
	case known != notAsked:
		return known
	case f.Queues != nil && topic == f.Queues.Source.Queue:
		known = yes
	case f.Inbox != nil && topic != "":
		const patience = 2 * time.Second
		limited, cancel := context.WithTimeout(ctx, patience)
		page, err := f.Inbox.List(limited, inbox.ListQuery{Topic: topic, Limit: 1})
		cancel()
		if known = unsure; err == nil && len(page.Records) > 0 {
			known = yes
		}
	default:
		known = unsure
	}
	f.gets[topic] = known
	return known
}

// askBroker asks whether the broker takes messages, if one waits to be published
// for no other reason that is known.
func (f *finder) askBroker(ctx context.Context) {
	waits := false
	for _, m := range f.found {
		waits = waits || m.Asked && m.Outbox != nil && m.Outbox.waits(f.journey.At)
	}
	if !waits || f.Queues == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	conn, err := f.Queues.Connect(ctx)
	if err != nil {
		f.broker = fail.From(err).Error()
		return
	}
	defer conn.Close()
	if reason, err := queues.Alarm(ctx, conn); err != nil || reason != "" {
		f.broker = "the broker takes no messages: " + first(reason, fmt.Sprint(err))
	}
}
