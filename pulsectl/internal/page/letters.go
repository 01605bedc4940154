package page

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/deadletters"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

const (
	// lettersLimit limits one reading of a dead-letter queue.
	lettersLimit = 30 * time.Second
	// lettersPage is how many letters are listed.
	lettersPage = 50
	// lettersUnasked is up to how many letters are read without being asked for: all
	// have to be delivered and put back.
	lettersUnasked = 5000
)

// lettersData is the screen of the dead letters: their groups, or the letters that
// a filter selects.
type lettersData struct {
	Group, Reason, Error, Topic, Key, Since string
	Survey                                  deadletters.Survey
	Letters                                 bool // letters are listed, and not groups
	Next, First                             string
	// Unread is how many letters there are, if they were not read; Read is the query
	// that reads them.
	Unread int
	Read   string
}

// Selected is a text for what the filter selects.
func (d lettersData) Selected() string {
	if d.Letters {
		return overview.Many(d.Survey.Matched, "matching letter")
	}
	return "all " + overview.Many(d.Survey.Matched, "letter")
}

func (h *Handler) letters(r *http.Request) (view, error) {
	p := h.parameters(r)
	d := lettersData{Group: p.text("group"), Reason: p.text("reason"), Error: p.text("error"), Topic: p.text("topic"), Key: p.text("key"), Since: p.text("since")}
	q := deadletters.Query{
		Filter: deadletters.Filter{Group: d.Group, Reason: d.Reason, Error: d.Error, Topic: d.Topic, Key: d.Key, Since: p.since("since")},
		After:  p.text("after"),
	}
	asked := p.one("read", "yes") != ""
	v := view{template: "letters", title: "Dead letters"}
	if err := p.check(); err != nil {
		return v, err
	}
	if d.Letters = !q.Filter.All(); d.Letters {
		q.Limit = lettersPage
	} else {
		q.Groups = true
	}
	v.failed = h.readLetters(r.Context(), &d, q, p, asked)
	v.data = d
	return v, nil
}

// queue returns the dead letters of the consumer.
func (h *Handler) queue(ctx context.Context) (deadletters.Queue, error) {
	reader, err := h.cfg.Servers.Queues(ctx)
	return deadletters.Queue{Source: reader.Source}, err
}

func (h *Handler) readLetters(ctx context.Context, d *lettersData, q deadletters.Query, p *parameters, asked bool) error {
	reader, err := h.cfg.Servers.Queues(ctx)
	if err != nil {
		return err
	}
	if !asked {
		seen, err := overview.ReadQueues(ctx, reader)
		if err != nil {
			return err
		}
		if n := seen.Depths.DeadLettered; n > lettersUnasked || n == 0 {
			d.Unread, d.Read = n, p.with("read", "yes")
			return nil
		}
	}
	queue := deadletters.Queue{Source: reader.Source}
	if d.Survey, err = queue.Survey(ctx, q); err != nil {
		return fail.Wrap("cannot read the dead letters", err)
	}
	if d.Survey.Next != "" {
		d.Next = p.with("after", d.Survey.Next)
	}
	if q.After != "" {
		d.First = p.with("after", "")
	}
	return nil
}

type letterData struct {
	Ref     string
	Letters []letterView // copies of it
}

type letterView struct {
	deadletters.Detail
	Payload payload
}

func (h *Handler) letter(r *http.Request) (view, error) {
	v := view{template: "letter", title: "Dead letter"}
	if err := h.parameters(r).check(); err != nil {
		return v, err
	}
	ref := r.PathValue("ref")
	if problem := unfit(ref); problem != "" {
		return v, badParameter{"ref", problem}
	}
	queue, err := h.queue(r.Context())
	if err != nil {
		return v, err
	}
	found, err := queue.Get(r.Context(), ref)
	if err != nil {
		return v, fail.Wrap("cannot read the dead letters", err)
	}
	d := letterData{Ref: ref}
	for _, l := range found {
		shown := letterView{Detail: l, Payload: payload{Size: l.Size}}
		if h.cfg.ShowPayloads {
			shown.Payload = showPayload(l.Raw.Body)
		}
		d.Letters = append(d.Letters, shown)
	}
	v.data = d
	return v, nil
}

// LetterHref returns the address of a dead letter.
func (f frame) LetterHref(ref string) string { return f.Href("/deadletters/" + url.PathEscape(ref)) }

// GroupHref returns the address of the letters of a group.
func (f frame) GroupHref(id string) string {
	return f.Href("/deadletters?" + url.Values{"group": {id}}.Encode())
}
