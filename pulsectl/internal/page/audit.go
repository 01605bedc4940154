package page

import (
	"context"
	"net/http"
	"strconv"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

type auditData struct {
	Actor, Action, Message, Since string
	Entries                       []outbox.AuditEntry
	Next, First                   string
	Filtered                      bool
}

func (h *Handler) audited(r *http.Request) (view, error) {
	p := h.parameters(r)
	d := auditData{Actor: p.text("actor"), Action: p.text("action"), Message: p.text("message"), Since: p.text("since")}
	q := outbox.AuditQuery{Actor: d.Actor, Action: d.Action, MessageID: d.Message, Since: p.since("since"), After: p.number("after")}
	v := view{template: "audit", title: "Audit"}
	if err := p.check(); err != nil {
		return v, err
	}
	d.Filtered = d.Actor+d.Action+d.Message+d.Since != ""
	v.failed = h.readAudit(r.Context(), &d, q, p)
	v.data = d
	return v, nil
}

func (h *Handler) readAudit(ctx context.Context, d *auditData, q outbox.AuditQuery, p *parameters) error {
	ob, err := h.cfg.Servers.Outbox(ctx)
	if err != nil {
		return err
	}
	page, err := ob.Audit(ctx, q)
	if err != nil {
		return fail.Wrap("cannot read the audit", err)
	}
	d.Entries = page.Entries
	if page.Next != 0 {
		d.Next = p.with("after", strconv.FormatInt(page.Next, 10))
	}
	if q.After != 0 {
		d.First = p.with("after", "")
	}
	return nil
}
