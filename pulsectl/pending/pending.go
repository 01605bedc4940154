// Package pending looks at the messages that still wait, in an outbox and in the
// queues of a consumer, before a new version of the consumer is deployed, and lists
// those that it would dead-letter. Nothing is changed, consumed or handled:
//
//	cfg := inbox.ConsumerConfig{Contracts: set.Consumer()}
//	check := func(ctx context.Context, msg inbox.Message) error { return cfg.Check(ctx, mux, msg) }
//	var report pending.Report
//	err := report.Queues(ctx, inspector, inboxrabbit.QueueNames("order.created", nil), check)
//
// The mux is the one that the consumer will have, so that its handlers' types and its
// upcasters decide. pulsectl contract check --pending is this without a mux.
package pending

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/outbox/wire/cloudevents"
	"github.com/asimalizada/pulse-events/outbox/wire/contract"
)

// Check reports why a message could not be handled, see inbox.ConsumerConfig.Check.
// An error that matches inbox.ErrUndecided says nothing against it.
type Check func(ctx context.Context, msg inbox.Message) error

// Broken is a message that waits and that would be dead-lettered.
type Broken struct {
	Place   string // outbox, or the name of a queue
	State   string // pending or dead in the outbox; queued, retry or dead-lettered in a queue
	ID      string // of the event
	Type    string
	Topic   string
	Version int
	Problem string // of a contract: begins with the path of the fault
}

// Report is the result of looking at what waits. The zero value is empty.
type Report struct {
	Looked    int      // messages
	Broken    []Broken // the first MaxBroken
	Breaks    int      // how many there are
	NotLooked []string // places that could not be looked into, and why

	undecided map[string]int // messages of which nothing can be told, by reason
}

// MaxBroken bounds the messages that a Report lists.
const MaxBroken = 1000

// maxLook bounds the messages of one queue that are looked at.
const maxLook = 1_000_000

// maxUnzipped bounds a payload that was compressed.
const maxUnzipped = contract.DefaultMaxBytes

// look checks one message.
func (p *Report) look(ctx context.Context, check Check, m wire.Message, place, state string) {
	p.Looked++
	err := readable(&m)
	if err == nil {
		err = check(ctx, inbox.FromWire(m))
	}
	if errors.Is(err, inbox.ErrUndecided) {
		if p.undecided == nil {
			p.undecided = make(map[string]int)
		}
		p.undecided[err.Error()]++
		return
	}
	if err != nil {
		p.add(m, place, state, err)
	}
}

// Done adds to NotLooked how many messages could not be judged, and why. Call it once,
// in the end.
func (p *Report) Done() {
	for _, reason := range slices.Sorted(maps.Keys(p.undecided)) {
		p.NotLooked = append(p.NotLooked, fmt.Sprintf("%d messages: %s", p.undecided[reason], reason))
	}
	p.undecided = nil
}

func (p *Report) add(m wire.Message, place, state string, err error) {
	p.Breaks++
	if len(p.Broken) < MaxBroken {
		p.Broken = append(p.Broken, Broken{place, state, m.ID, m.Type, m.Topic, m.Version, err.Error()})
	}
}

// readable brings a message as it travels to what handlers get: without gzip and
// without the envelope of CloudEvents.
func readable(m *wire.Message) error {
	if m.Encryption != "" {
		return nil // what is inside is for its opener
	}
	if strings.EqualFold(m.ContentEncoding, "gzip") {
		r, err := gzip.NewReader(bytes.NewReader(m.Payload))
		if err != nil {
			return fmt.Errorf("$: %w", err)
		}
		text, err := io.ReadAll(io.LimitReader(r, maxUnzipped+1))
		if err != nil {
			return fmt.Errorf("$: %w", err)
		}
		m.Payload, m.ContentEncoding = text, ""
	}
	if err := (cloudevents.Codec{}).Decode(m); err != nil {
		return fmt.Errorf("$: %w", err)
	}
	return nil
}

// Outbox looks at the messages of an outbox that are to be published, those that
// are dead among them, a page at a time.
func (p *Report) Outbox(ctx context.Context, ob *outbox.Outbox, check Check) error {
	q := outbox.ListQuery{Statuses: []outbox.Status{outbox.Pending, outbox.Dead}, OldestFirst: true, Limit: 50}
	for {
		page, err := ob.List(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page.Records {
			p.look(ctx, check, r.Wire(""), "outbox", string(r.Status))
		}
		if page.Next == 0 {
			return nil
		}
		q.After = page.Next
	}
}

// Queues looks at the messages in the queues of a consumer, and leaves them there.
// A queue that is being consumed is not looked into, which NotLooked says.
func (p *Report) Queues(ctx context.Context, i *inboxrabbit.Inspector, names inboxrabbit.Names, check Check) error {
	type place struct{ queue, state string }
	places := []place{{names.DeadLetters, "dead-lettered"}}
	for _, retry := range names.Retry {
		places = append(places, place{retry.Queue, "retry"})
	}
	for _, at := range append(places, place{names.Queue, "queued"}) {
		looked, err := i.Look(ctx, at.queue, maxLook, func(q inboxrabbit.Queued) error {
			m := wire.Message{ID: q.ID, Topic: q.Topic, Type: q.Type, Payload: q.Body, ContentType: q.Raw.ContentType, ContentEncoding: q.Raw.ContentEncoding}
			if err := wire.ReadHeaders(&m, q.Raw.Headers); err != nil {
				p.Looked++
				p.add(m, at.queue, at.state, err)
				return nil
			}
			m.Topic = q.Topic
			p.look(ctx, check, m, at.queue, at.state)
			return nil
		})
		var incomplete *inboxrabbit.IncompleteError
		switch {
		case errors.Is(err, inboxrabbit.ErrInUse):
			p.NotLooked = append(p.NotLooked, fmt.Sprintf("%s: %d messages, which its consumers are reading; stop them to look", at.queue, looked.There))
		case errors.As(err, &incomplete):
			p.NotLooked = append(p.NotLooked, fmt.Sprintf("%s: %v", at.queue, err))
		case err != nil:
			return err
		case looked.There > maxLook:
			p.NotLooked = append(p.NotLooked, fmt.Sprintf("%s: %d messages, more than %d", at.queue, looked.There, maxLook))
		}
	}
	return nil
}
