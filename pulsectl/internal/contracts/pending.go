package contracts

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/outbox/wire/cloudevents"
	"github.com/asimalizada/pulse-events/outbox/wire/contract"
)

// Broken is a message that waits and that consumers with these contracts would
// dead-letter.
type Broken struct {
	Place   string // outbox, or the name of a queue
	State   string // pending or dead in the outbox; queued, retry or dead-lettered in a queue
	ID      string // of the event
	Type    string
	Topic   string
	Version int
	Problem string // begins with the path of the fault
}

// Pending is the result of looking at what waits.
type Pending struct {
	Looked    int      // messages
	Broken    []Broken // the first ones
	Breaks    int      // how many there are
	NotLooked []string // places that could not be looked into, and why

	encrypted int
}

// MaxBroken bounds the messages that a Pending lists.
const MaxBroken = 1000

// maxLook bounds the messages of one queue that are looked at.
const maxLook = 1_000_000

// maxUnzipped bounds a payload that was compressed.
const maxUnzipped = contract.DefaultMaxBytes

// look checks one message.
func (p *Pending) look(contracts wire.Contracts, m wire.Message, place, state string) {
	p.Looked++
	if m.Encryption != "" {
		p.encrypted++
		return
	}
	err := readable(&m)
	if err == nil {
		err = wire.CheckConsumed(contracts, m)
	}
	if err != nil {
		p.add(m, place, state, err)
	}
}

// Done adds what could not be read to NotLooked.
func (p *Pending) Done() {
	if p.encrypted > 0 {
		p.NotLooked = append(p.NotLooked, fmt.Sprintf("%d messages that are encrypted", p.encrypted))
	}
}

func (p *Pending) add(m wire.Message, place, state string, err error) {
	p.Breaks++
	if len(p.Broken) < MaxBroken {
		p.Broken = append(p.Broken, Broken{place, state, m.ID, m.Type, m.Topic, m.Version, err.Error()})
	}
}

// readable brings a message as it travels to what handlers get: without gzip and
// without the envelope of CloudEvents.
func readable(m *wire.Message) error {
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
func (p *Pending) Outbox(ctx context.Context, ob *outbox.Outbox, contracts wire.Contracts) error {
	q := outbox.ListQuery{Statuses: []outbox.Status{outbox.Pending, outbox.Dead}, OldestFirst: true, Limit: 50}
	for {
		page, err := ob.List(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page.Records {
			p.look(contracts, r.Wire(""), "outbox", string(r.Status))
		}
		if page.Next == 0 {
			return nil
		}
		q.After = page.Next
	}
}

// Queues looks at the messages in the queues of a consumer, and leaves them there.
// A queue that is being consumed is not looked into, which NotLooked says.
func (p *Pending) Queues(ctx context.Context, i *inboxrabbit.Inspector, names inboxrabbit.Names, contracts wire.Contracts) error {
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
			p.look(contracts, m, at.queue, at.state)
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
