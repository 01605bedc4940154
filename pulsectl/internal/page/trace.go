package page

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/journey"
)

type traceData struct {
	Word    string
	Journey *journey.Journey // nil: nothing was asked for, or found
}

// lookUnasked is how many messages a queue may hold to be looked into without being
// asked to: they are taken and put back.
const lookUnasked = 1000

// trace shows the journey of a message, by its event id, its key or a correlation
// id.
func (h *Handler) trace(r *http.Request) (view, error) {
	p := h.parameters(r)
	d := traceData{Word: p.text("id")}
	look := p.one("look", "queues") != ""
	v := view{template: "trace", title: "Journey"}
	if err := p.check(); err != nil {
		return v, err
	}
	if d.Word != "" {
		v.failed = h.readTrace(r.Context(), &d, look)
	}
	v.data = d
	return v, nil
}

func (h *Handler) readTrace(ctx context.Context, d *traceData, look bool) error {
	o := journey.Options{Search: h.cfg.QueryLimit / 2, LookLimit: lookUnasked}
	if look {
		o.LookLimit = journey.DefaultLookLimit
	}
	j, err := journey.Find(ctx, h.sources(ctx), d.Word, o)
	switch {
	case errors.Is(err, journey.ErrNotFound):
		notes := strings.Join(append(j.Unseen, j.Notes...), "; ")
		if away := j.Away(); away != nil {
			return fail.Wrap("not found, and not everything could be looked at", away)
		}
		return fail.New(fail.NotFound, notes, "%q was not found in outbox, queues or inbox", d.Word)
	case err != nil:
		return fail.Wrap("cannot follow the message", err)
	}
	d.Journey = j
	return j.Incomplete
}

// sources are where a message may be. What nobody has set up is left out.
func (h *Handler) sources(ctx context.Context) (s journey.Sources) {
	given := func(err error) error {
		if err != nil && fail.From(err).Kind == fail.Usage {
			return nil
		}
		return err
	}
	var err error
	if s.Outbox, err = h.cfg.Servers.Outbox(ctx); err != nil {
		s.Outbox, s.OutboxErr = nil, given(err)
	}
	if s.Inbox, err = h.cfg.Servers.Inbox(ctx); err != nil {
		s.Inbox, s.InboxErr = nil, given(err)
	}
	if q, err := h.cfg.Servers.Queues(ctx); err != nil {
		s.QueuesErr = given(err)
	} else {
		s.Queues = &q
	}
	return s
}

// TraceHref returns the address of a journey.
func (f frame) TraceHref(word string) string {
	return f.Href("/trace?" + url.Values{"id": {word}}.Encode())
}
