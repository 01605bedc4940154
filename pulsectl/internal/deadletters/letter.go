// Package deadletters reads dead-letter queues, and moves or discards what is in
// them. Commands and web page are thin callers of it.
package deadletters

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/errorgroup"
)

// Letter is a dead letter as lists show it. What its headers do not tell is empty
// or zero.
type Letter struct {
	Queue    string // the dead-letter queue
	Position int    // in it, from 1, when it was read
	// Ref names the letter: the id of its event, or "noid-" and a hash of its content
	// where it has none. Copies of a letter have the same.
	Ref string

	EventID, Topic, Type, Key, CorrelationID, CausationID, Producer string

	OccurredAt time.Time
	Consumer   string // that dead-lettered it; empty: the broker did, or another tool
	Reason     string // such as "handler"; the broker's own, such as "delivery_limit"; or empty
	Error      string // the last one
	FirstError string
	Attempts   int
	Requeues   int // how often it was moved back before

	FirstFailedAt, LastFailedAt time.Time

	Size   int    // of the body, in bytes
	Format string // of an envelope around the event, see Envelope; empty: none
	Group  string // see Group.ID

	normalised string // Error, for the group
}

// Detail is a letter with everything that AMQP carries.
type Detail struct {
	Letter
	Raw      inboxrabbit.Raw
	Envelope *Envelope // nil: none that is known
	Deaths   []Death   // by the broker itself, the last one first
	Travels  []Travel  // by shovels and federation, in their order
	// Earlier is why it was a dead letter before, the last time first; some of Requeues.
	Earlier []inboxrabbit.EarlierFailure
}

const refWithoutID = "noid-"

// maxError bounds the error texts that lists keep: those of other tools may
// hold the trace of a stack.
const maxError = 1024

// read makes a Detail of a dead letter. Nothing in it is an error: what cannot be
// understood is left empty.
func read(queue string, position int, d inboxrabbit.DeadLetter) Detail {
	l := Detail{Raw: d.Raw, Envelope: envelope(d), Deaths: deaths(d.Raw.Headers), Travels: travels(d.Raw.Headers), Earlier: d.Earlier}
	foreign := foreignFailure(d.Raw.Headers)
	var inner Envelope
	if l.Envelope != nil {
		inner = *l.Envelope
	}
	l.Letter = Letter{
		Queue: queue, Position: position, EventID: cmp.Or(d.ID, inner.ID), Topic: d.Topic, Type: cmp.Or(d.Type, inner.Type), Key: d.Key,
		CorrelationID: cmp.Or(d.CorrelationID, inner.CorrelationID), CausationID: d.CausationID, Producer: cmp.Or(d.Producer, inner.Source),
		OccurredAt: cmp.Or(d.OccurredAt, inner.OccurredAt), Consumer: cmp.Or(d.Consumer, foreign.consumer),
		Reason: cmp.Or(string(d.Reason), foreign.reason), Error: clipped(cmp.Or(d.LastError, foreign.error)),
		FirstError: clipped(d.FirstError), Attempts: d.Attempts, Requeues: d.Requeues,
		FirstFailedAt: d.FirstFailedAt, LastFailedAt: cmp.Or(d.LastFailedAt, foreign.at),
		Size: len(d.Body), Format: inner.Format,
	}
	l.Ref = l.EventID
	if l.Ref == "" {
		l.Ref = refWithoutID + contentHash(d)
	}
	l.normalised = errorgroup.Normalise(l.Error)
	l.Group = groupID(l.Reason, l.normalised)
	return l
}

// contentHash tells letters without an id apart. It is the same for a copy of
// the letter, by which reading may replace it.
func contentHash(d inboxrabbit.DeadLetter) string {
	sum := sha256.New()
	for _, part := range []string{d.Type, d.CorrelationID, d.Topic, d.Raw.Timestamp.UTC().String()} {
		fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	_, _ = sum.Write(d.Body) // a hash never fails
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

func groupID(reason, normalised string) string {
	sum := sha256.New()
	_, _ = io.WriteString(sum, reason+"\x00"+normalised)
	return hex.EncodeToString(sum.Sum(nil)[:4])
}
