package page

import (
	"context"
	"net/http"
	"strings"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

type inboxData struct {
	Event, Topic, CorrelationID, Since string
	Consumer                           string
	Stats                              inbox.Stats
	Records                            []inbox.Record
	Next, First                        string // queries of other pages; empty: none
	Filtered                           bool
}

func (h *Handler) inbox(r *http.Request) (view, error) {
	p := h.parameters(r)
	d := inboxData{Event: p.text("event"), Topic: p.text("topic"), CorrelationID: p.text("correlation"), Since: p.text("since")}
	q := inbox.ListQuery{EventID: d.Event, Topic: d.Topic, CorrelationID: d.CorrelationID, Since: p.since("since"), After: p.text("after")}
	v := view{template: "inbox", title: "Inbox"}
	if err := p.check(); err != nil {
		return v, err
	}
	d.Filtered = d.Event+d.Topic+d.CorrelationID+d.Since != ""
	err := h.readInbox(r.Context(), &d, q, p)
	if q.After != "" && err != nil && strings.Contains(err.Error(), "is no Page.Next") {
		return v, badParameter{"after", "is not the address of a page"}
	}
	v.failed, v.data = err, d
	return v, nil
}

func (h *Handler) readInbox(ctx context.Context, d *inboxData, q inbox.ListQuery, p *parameters) error {
	in, err := h.cfg.Servers.Inbox(ctx)
	if err != nil {
		return err
	}
	d.Consumer = in.Consumer()
	page, err := in.List(ctx, q)
	if err != nil {
		return fail.Wrap("cannot list the inbox", err)
	}
	d.Records = page.Records
	if page.Next != "" {
		d.Next = p.with("after", page.Next)
	}
	if q.After != "" {
		d.First = p.with("after", "")
	}
	if d.Stats, err = in.Stats(ctx); err != nil {
		return fail.Wrap("cannot count the inbox", err)
	}
	return nil
}
