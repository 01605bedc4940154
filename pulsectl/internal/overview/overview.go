// Package overview looks at an outbox, an inbox and the queues between them, and
// judges what it sees. It is what status, top and the web page have in common.
package overview

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

// Outbox is what a look at an outbox has found.
type Outbox struct {
	Stats    outbox.Stats
	Relays   []outbox.RelayStatus // live ones and others
	Pauses   []outbox.Pause
	refusals []string // why messages are retried
}

// ReadOutbox looks at an outbox.
func ReadOutbox(ctx context.Context, ob *outbox.Outbox) (o Outbox, err error) {
	if o.Stats, err = ob.Stats(ctx); err != nil {
		return o, fail.Wrap("cannot count the outbox", err)
	}
	if o.Relays, err = ob.Relays(ctx); err != nil {
		return o, fail.Wrap("cannot list the relays", err)
	}
	if o.Pauses, err = ob.Pauses(ctx); err != nil {
		return o, fail.Wrap("cannot list what is paused", err)
	}
	if o.Stats.Retrying.N > 0 {
		if o.refusals, err = refusals(ctx, ob); err != nil {
			return o, fail.Wrap("cannot list the outbox", err)
		}
	}
	return o, nil
}

// Serving counts the live relays and the buckets that they publish.
func (o Outbox) Serving() (relays, buckets int) { return LiveRelays(o.Relays) }

// Reasons returns why the outbox is degraded; none: it is not.
func (o Outbox) Reasons() (reasons []string) {
	s := o.Stats
	relays, served := o.Serving()
	reasons = append(reasons, PausedReasons(o.Pauses)...)
	if s.Dead.N > 0 {
		reasons = append(reasons, Counted(s.Dead)+" dead, see pulsectl outbox ls --status dead")
	}
	if s.Retrying.N > 0 {
		reasons = append(append(reasons, Counted(s.Retrying)+" retrying"), o.refusals...)
	}
	switch waiting := s.Pending.N > s.Delayed.N; {
	case waiting && relays == 0:
		reasons = append(reasons, "no relay is ready to publish the pending messages")
	case waiting && served < Buckets:
		reasons = append(reasons, fmt.Sprintf("%d of %d buckets are served by no relay: their messages stay pending", Buckets-served, Buckets))
	}
	return reasons
}

// Detail describes the outbox in a line.
func (o Outbox) Detail() string {
	s := o.Stats
	relays, _ := o.Serving()
	detail := fmt.Sprintf("%s pending, %s dead, %s published, %s", Counted(s.Pending), Counted(s.Dead), Counted(s.Published), Many(relays, "relay"))
	if !s.OldestPending.IsZero() {
		detail += fmt.Sprintf(", the oldest waits for %s", s.OldestPendingAge.Round(100*time.Millisecond))
	}
	return detail
}

// unrouted matches the broker's text about a message that no queue is bound
// for.
var unrouted = regexp.MustCompile(`returned by exchange "([^"]*)" for routing key "([^"]*)"`)

// refusals returns why messages are retried: the topics for which no queue is
// bound, or the newest other error.
func refusals(ctx context.Context, ob *outbox.Outbox) (reasons []string, err error) {
	const looked = 200
	page, err := ob.List(ctx, outbox.ListQuery{Retrying: true, WithoutPayload: true, Limit: looked})
	if err != nil {
		return nil, err
	}
	other := ""
	for _, r := range page.Records {
		switch m := unrouted.FindStringSubmatch(r.LastError); {
		case m == nil:
			other = cmp.Or(other, r.LastError)
		default:
			by := "with this key"
			if strings.Contains(r.LastError, "bind a queue by headers") {
				by = "by headers"
			}
			text := fmt.Sprintf("no queue is bound for topic %s: bind one to exchange %s %s", m[2], m[1], by)
			if !slices.Contains(reasons, text) {
				reasons = append(reasons, text)
			}
		}
	}
	if other != "" {
		reasons = append(reasons, "the broker refuses: "+other)
	}
	return reasons, nil
}

// Inbox is what a look at the inbox of one consumer has found.
type Inbox struct {
	Stats     inbox.Stats
	Instances []inbox.InstanceStatus // live ones and others
	consumer  string
	others    []string // consumers, if this one seems not to exist
}

// ReadInbox looks at an inbox.
func ReadInbox(ctx context.Context, in *inbox.Inbox) (i Inbox, err error) {
	i.consumer = in.Consumer()
	if i.Stats, err = in.Stats(ctx); err != nil {
		return i, fail.Wrap("cannot count the inbox", err)
	}
	if i.Instances, err = in.Instances(ctx); err != nil {
		return i, fail.Wrap("cannot list the instances", err)
	}
	if running, _ := i.Running(); i.Stats.Applied.N == 0 && running == 0 {
		if i.others, err = in.Consumers(ctx); err != nil {
			return i, fail.Wrap("cannot list the consumers", err)
		}
	}
	return i, nil
}

// Running counts the live instances and the messages that they hold.
func (i Inbox) Running() (instances, held int) {
	for _, instance := range i.Instances {
		if instance.Live {
			instances, held = instances+1, held+instance.Held
		}
	}
	return instances, held
}

// Reasons returns why the inbox is degraded; none: it is not.
func (i Inbox) Reasons() (reasons []string) {
	for _, instance := range i.Instances {
		if instance.Live && !instance.Subscribed {
			reasons = append(reasons, "instance "+instance.Name+" is not subscribed at the broker")
		}
	}
	if len(i.others) > 0 {
		reasons = append(reasons, fmt.Sprintf("there is no consumer %s; consumers: %s", i.consumer, strings.Join(i.others, ", ")))
	}
	return reasons
}

// Detail describes the inbox in a line.
func (i Inbox) Detail() string {
	running, held := i.Running()
	detail := fmt.Sprintf("%s applied by %s, %s", Bounded(i.Stats.Applied.N, i.Stats.Applied.Exact), i.consumer, Many(running, "instance"))
	if held > 0 {
		detail += fmt.Sprintf(" holding %s", Many(held, "message"))
	}
	return detail
}

// Queues is what a look at the consumer's queues has found.
type Queues struct {
	Depths inboxrabbit.Depths
	Names  inboxrabbit.Names
}

// ReadQueues looks at queues.
func ReadQueues(ctx context.Context, q queues.Reader) (seen Queues, err error) {
	seen.Names = inboxrabbit.QueueNames(q.Source.Queue, q.Source.RetryDelays)
	seen.Depths, err = q.Depths(ctx)
	return seen, err
}

// Reasons returns why the queues are degraded; none: they are not.
func (q Queues) Reasons() (reasons []string) {
	switch d := q.Depths; {
	case slices.Contains(d.Missing, q.Names.Queue):
		reasons = append(reasons, "queue "+q.Names.Queue+" does not exist: no consumer has declared it")
	case d.Ready > 0 && d.Consumers == 0:
		reasons = append(reasons, "no consumer on queue "+q.Names.Queue)
	}
	if n := q.Depths.DeadLettered; n > 0 {
		reasons = append(reasons, Many(n, "dead letter")+" in "+q.Names.DeadLetters)
	}
	return reasons
}

// Detail describes the queues in a line.
func (q Queues) Detail() string {
	d := q.Depths
	detail := fmt.Sprintf("%d ready, %d waiting for a retry, %d dead-lettered, %s", d.Ready, d.Retrying, d.DeadLettered, Many(d.Consumers, "consumer"))
	if len(d.Missing) > 0 {
		detail += "; missing: " + strings.Join(d.Missing, ", ")
	}
	return detail
}
