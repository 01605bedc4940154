package page

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

// outboxStatuses are the values of the filter on the state. What is retrying is
// pending as well.
var outboxStatuses = []string{"pending", "retrying", "published", "dead", "discarded"}

type outboxData struct {
	Statuses                                              []string
	Status, Topic, Type, Key, CorrelationID, Error, Since string
	Records                                               []outbox.Record
	Total                                                 string // how many match, bounded; empty: not counted
	Next, First                                           string // queries of other pages; empty: none
	Filtered                                              bool
}

func (h *Handler) outbox(r *http.Request) (view, error) {
	p := h.parameters(r)
	d := outboxData{
		Statuses: outboxStatuses, Status: p.one("status", outboxStatuses...), Topic: p.text("topic"), Type: p.text("type"), Key: p.text("key"),
		CorrelationID: p.text("correlation"), Error: p.text("error"), Since: p.text("since"),
	}
	q := outbox.ListQuery{
		Topic: d.Topic, Type: d.Type, Key: d.Key, CorrelationID: d.CorrelationID, ErrorContains: d.Error,
		Since: p.since("since"), After: p.number("after"), WithoutPayload: true,
	}
	v := view{template: "outbox", title: "Outbox"}
	if err := p.check(); err != nil {
		return v, err
	}
	switch d.Status {
	case "":
	case "retrying":
		q.Retrying = true
	default:
		q.Statuses = []outbox.Status{outbox.Status(d.Status)}
	}
	d.Filtered = d.Status+d.Topic+d.Type+d.Key+d.CorrelationID+d.Error+d.Since != ""
	v.failed = h.readOutbox(r.Context(), &d, q, p)
	v.data = d
	return v, nil
}

func (h *Handler) readOutbox(ctx context.Context, d *outboxData, q outbox.ListQuery, p *parameters) error {
	ob, err := h.cfg.Servers.Outbox(ctx)
	if err != nil {
		return err
	}
	page, err := ob.List(ctx, q)
	if err != nil {
		return fail.Wrap("cannot list the outbox", err)
	}
	d.Records = page.Records
	if page.Next != 0 {
		d.Next = p.with("after", strconv.FormatInt(page.Next, 10))
	}
	if q.After != 0 {
		d.First = p.with("after", "")
	}
	n, more, err := ob.Count(ctx, q, overview.CountBound)
	if err != nil {
		return fail.Wrap("cannot count the outbox", err)
	}
	d.Total = overview.Bounded(int64(n), !more)
	return nil
}

type messageData struct {
	outbox.Record
	Payload                payload
	Retryable, Discardable bool
}

func (h *Handler) message(r *http.Request) (view, error) {
	v := view{template: "message", title: "Message"}
	id, err := h.messageID(r)
	if err != nil {
		return v, err
	}
	ob, err := h.cfg.Servers.Outbox(r.Context())
	if err != nil {
		return v, err
	}
	rec, err := ob.Get(r.Context(), id)
	switch {
	case errors.Is(err, outbox.ErrNotFound):
		return v, fail.New(fail.NotFound, "messages are deleted some time after they were published", "the outbox has no message %s", id)
	case err != nil:
		return v, fail.Wrap("cannot read "+id.String(), err)
	}
	d := messageData{
		Record: rec, Retryable: rec.Status == outbox.Dead || rec.Retrying(),
		Discardable: rec.Status == outbox.Dead || rec.Status == outbox.Pending,
	}
	if h.cfg.ShowPayloads {
		d.Payload = showPayload(rec.Payload)
	} else {
		d.Payload.Size = len(rec.Payload)
	}
	v.data = d
	return v, nil
}

// messageID returns the event id in a path without parameters.
func (h *Handler) messageID(r *http.Request) (uuid.UUID, error) {
	if err := h.parameters(r).check(); err != nil {
		return uuid.Nil, err
	}
	word := r.PathValue("id")
	id, err := uuid.Parse(word)
	if err != nil || len(word) != len(id.String()) {
		return uuid.Nil, badParameter{"id", strconv.Quote(word) + " is not an event id"}
	}
	return id, nil
}
