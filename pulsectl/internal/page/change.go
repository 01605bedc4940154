package page

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// change does something, and returns the path of the screen to show then.
type change func(*http.Request) (path string, err error)

// refused is a change that was not made.
type refused struct {
	heading, text, hint string
	status              int
}

func (e refused) Error() string { return e.text }

const (
	// maxForm limits the body of a form.
	maxForm = 64 << 10
	// changeLimit limits a change: a broker that restarts takes a while.
	changeLimit = 30 * time.Second
)

// changes returns what can be done, by its path.
func (h *Handler) changes() map[string]change {
	changes := map[string]change{
		"/outbox/{id}/retry":   h.retry,
		"/outbox/{id}/discard": h.discard,
	}
	if h.cfg.Stack != nil {
		changes["/orders"] = h.placeOrder
		changes["/break/{fault}/begin"] = h.beginFault
		changes["/break/{fault}/end"] = h.endFault
	}
	return changes
}

// change does a change if the form comes from this page and was confirmed. Who
// asks for it is logged, whatever becomes of it.
func (h *Handler) change(do change) http.HandlerFunc {
	crossOrigin := http.NewCrossOriginProtection()
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		path, err := "", h.acceptable(crossOrigin, r)
		if err == nil {
			err = fail.Within(r.Context(), changeLimit, func(ctx context.Context) (err error) {
				path, err = do(r.WithContext(ctx))
				return err
			})
			h.cfg.Logger.Info("web page: change", "path", r.URL.Path, "actor", h.cfg.Actor(r), "error", err)
		}
		if err != nil {
			h.render(w, r, view{template: "problem", failed: err}, nil)
			return
		}
		http.Redirect(w, r, h.cfg.Prefix+path, http.StatusSeeOther)
	}
}

func (h *Handler) acceptable(crossOrigin *http.CrossOriginProtection, r *http.Request) error {
	switch err := crossOrigin.Check(r); {
	case !h.cfg.AllowWrites:
		return refused{"Read-only", "this page changes nothing", "start it with --allow-writes", http.StatusForbidden}
	case err != nil:
		return refused{"Not accepted", "the form was sent by another site: " + err.Error(), "use the forms of this page", http.StatusForbidden}
	}
	if err := r.ParseForm(); err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return refused{"Not accepted", "the form is too large", "", http.StatusRequestEntityTooLarge}
		}
		return badParameter{"form", "cannot be read: " + err.Error()}
	}
	if !sameToken(r) {
		return refused{"Not accepted", "the form has no valid token: it was not sent by this page, or cookies are off", "go back, reload the page and try again", http.StatusForbidden}
	}
	if r.PostForm.Get("confirm") != "yes" {
		return badParameter{"confirm", "the change was not confirmed; nothing was done"}
	}
	return nil
}

// formText returns a field of a form without the blanks around it.
func formText(r *http.Request, name string, required bool) (string, error) {
	values := r.PostForm[name]
	if len(values) > 1 {
		return "", badParameter{name, "is given more than once"}
	}
	text := ""
	if len(values) == 1 {
		if problem := unfit(values[0]); problem != "" {
			return "", badParameter{name, problem}
		}
		text = strings.TrimSpace(values[0])
	}
	if required && utf8.RuneCountInString(text) == 0 {
		return "", badParameter{name, "is empty"}
	}
	return text, nil
}

func (h *Handler) retry(r *http.Request) (string, error) {
	id, err := h.messageID(r)
	if err != nil {
		return "", err
	}
	ob, err := h.cfg.Servers.Outbox(r.Context())
	if err != nil {
		return "", err
	}
	if _, err := ob.Operator(h.cfg.Actor(r), "").Retry(r.Context(), id); err != nil {
		return "", unchanged("retry", id, err)
	}
	return "/outbox/" + id.String() + "?" + noticeParameter + "=retried", nil
}

func (h *Handler) discard(r *http.Request) (string, error) {
	id, err := h.messageID(r)
	if err != nil {
		return "", err
	}
	reason, err := formText(r, "reason", true)
	if err != nil {
		return "", err
	}
	ob, err := h.cfg.Servers.Outbox(r.Context())
	if err != nil {
		return "", err
	}
	if _, err := ob.Operator(h.cfg.Actor(r), reason).Discard(r.Context(), id); err != nil {
		return "", unchanged("discard", id, err)
	}
	return "/outbox/" + id.String() + "?" + noticeParameter + "=discarded", nil
}

// unchanged explains why a message could not be changed.
func unchanged(verb string, id uuid.UUID, err error) error {
	switch {
	case errors.Is(err, outbox.ErrNotFound):
		return fail.New(fail.NotFound, "", "the outbox has no message %s", id)
	case errors.Is(err, outbox.ErrStatus):
		return refused{"Nothing was changed", "cannot " + verb + " it: " + err.Error(), "look at its state now", http.StatusConflict}
	}
	return fail.Wrap("cannot "+verb+" "+id.String(), err)
}

func (h *Handler) placeOrder(r *http.Request) (string, error) {
	customer, err := formText(r, "customer", true)
	if err != nil {
		return "", err
	}
	amount, err := formText(r, "amount", true)
	if err != nil {
		return "", err
	}
	event, err := h.cfg.Stack.PlaceOrder(r.Context(), customer, amount)
	if f := (*fail.Error)(nil); errors.As(err, &f) && f.Kind == fail.Usage {
		return "", badParameter{"order", f.Error()}
	}
	if err != nil {
		return "", err
	}
	return "/?" + noticeParameter + "=" + url.QueryEscape("ordered:"+event), nil
}

func (h *Handler) act(r *http.Request) (Act, error) {
	name := r.PathValue("fault")
	for _, act := range h.cfg.Stack.Acts() {
		if act.Name == name {
			return act, nil
		}
	}
	return Act{}, badParameter{"fault", "there is no such fault"}
}

func (h *Handler) beginFault(r *http.Request) (string, error) {
	act, err := h.act(r)
	if err != nil {
		return "", err
	}
	return "/?" + noticeParameter + "=begun#break", h.cfg.Stack.Begin(r.Context(), act.Name)
}

func (h *Handler) endFault(r *http.Request) (string, error) {
	act, err := h.act(r)
	if err != nil {
		return "", err
	}
	if act.Once {
		return "", badParameter{"fault", "it does not last"}
	}
	return "/?" + noticeParameter + "=ended#break", h.cfg.Stack.End(r.Context(), act.Name)
}

// noticeParameter names what was done in the address of the screen after it.
const noticeParameter = "done"

// notices are the texts for what can be done.
var notices = map[string]notice{
	"retried":   {Text: "The message will be published again."},
	"discarded": {Text: "The message will not be published."},
	"begun":     {Text: "Done. Watch what it does above; end it below."},
	"ended":     {Text: "Ended. What waited is on its way."},
}

func noticeOf(r *http.Request) (*notice, error) {
	word := r.URL.Query().Get(noticeParameter)
	if word == "" {
		return nil, nil
	}
	if event, ordered := strings.CutPrefix(word, "ordered:"); ordered {
		if id, err := uuid.Parse(event); err == nil {
			return &notice{Text: "The order was placed, in one transaction with its message.", Link: "/outbox/" + id.String(), LinkText: "Look at the message"}, nil
		}
	}
	if n, ok := notices[word]; ok {
		return &n, nil
	}
	return nil, badParameter{noticeParameter, "there is no such notice"}
}
