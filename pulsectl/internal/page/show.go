package page

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// view is what a screen shows.
type view struct {
	template string // its file, without .html
	title    string
	data     any
	// failed is why data could not be read, or not completely: it is shown above.
	failed error
	status int // 0: as failed says, else 200
}

// screen answers one request. The error is that of its parameters, or of what it
// reads.
type screen func(*http.Request) (view, error)

// frame is what the layout needs besides the screen's own data.
type frame struct {
	*Handler
	Title, Path string
	Data        any
	Token       string
	Problem     *problem
	Notice      *notice
	Now         time.Time
}

// problem is an error as it is shown.
type problem struct {
	Heading, Text, Hint string
}

// badParameter is a parameter that cannot be used.
type badParameter struct{ name, problem string }

func (e badParameter) Error() string { return e.name + ": " + e.problem }

// errNoScreen is the error of a path without a screen.
var errNoScreen = fail.New(fail.NotFound, "the menu above has all screens", "there is no such page")

func (h *Handler) nowhere(*http.Request) (view, error) { return view{}, errNoScreen }

// show answers with a screen. What it reads is limited in time.
func (h *Handler) show(s screen, limit time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var v view
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		note, err := noticeOf(r)
		if err == nil {
			v, err = s(r.WithContext(ctx))
		}
		if err != nil {
			v = view{template: "problem", failed: err, title: v.title}
		}
		if errors.Is(v.failed, context.DeadlineExceeded) {
			v.failed = fail.New(fail.Unreachable, "", "no answer within %s", clip.Duration(limit))
		}
		h.render(w, r, v, note)
	}
}

// render writes a screen, or why there is none. Nothing is written before all of
// it is made.
func (h *Handler) render(w http.ResponseWriter, r *http.Request, v view, note *notice) {
	f := frame{Handler: h, Title: v.title, Path: r.URL.Path, Data: v.data, Token: h.token(w, r), Notice: note, Now: h.cfg.Now()}
	status := http.StatusOK
	if v.failed != nil {
		f.Problem, status = h.explain(r, v.failed)
		if f.Title == "" {
			f.Title = f.Problem.Heading
		}
	}
	if v.status != 0 {
		status = v.status
	}
	var page bytes.Buffer
	if err := templates[v.template].ExecuteTemplate(&page, "layout", f); err != nil {
		h.cfg.Logger.Error("web page: cannot render", "screen", v.template, "error", err)
		http.Error(w, "this page could not be made; the log has the reason", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w) // the browser may have gone
}

// explain returns an error as it is shown, with the status of the response. What
// is away or not set up is no failure of the page.
func (h *Handler) explain(r *http.Request, err error) (*problem, int) {
	if bad, ok := errors.AsType[badParameter](err); ok {
		return &problem{"This address cannot be shown", bad.Error(), "correct the parameter in the address, or use the form of the screen"}, http.StatusBadRequest
	}
	if bad, ok := errors.AsType[refused](err); ok {
		return &problem{bad.heading, bad.text, bad.hint}, bad.status
	}
	f := fail.From(err)
	p := &problem{Text: f.Error(), Hint: f.Hint}
	if errors.Is(err, context.DeadlineExceeded) {
		p.Heading, p.Text = "No answer", "no answer in time"
		return p, http.StatusServiceUnavailable
	}
	switch f.Kind {
	case fail.Usage:
		p.Heading = "Not set up"
		return p, http.StatusNotFound
	case fail.NotFound:
		p.Heading = "Not found"
		return p, http.StatusNotFound
	case fail.Schema:
		p.Heading = "The tables are missing or out of date"
		return p, http.StatusServiceUnavailable
	case fail.Unreachable, fail.Timeout:
		p.Heading = "No answer"
		return p, http.StatusServiceUnavailable
	case fail.Interrupted: // the browser has gone
		p.Heading = "Interrupted"
		return p, http.StatusServiceUnavailable
	}
	if outbox.IsDatabaseUnavailable(err) {
		p.Heading = "The database cannot serve this"
		return p, http.StatusServiceUnavailable
	}
	h.cfg.Logger.Error("web page: a request failed", "path", r.URL.Path, "error", err)
	p.Heading = "This failed"
	return p, http.StatusInternalServerError
}

// notice is a line about what was done, after a change.
type notice struct{ Text, Link, LinkText string }

// Href returns the address of a path of the page.
func (f frame) Href(path string) string { return f.cfg.Prefix + path }

// Asset returns the address of a file.
func (f frame) Asset(name string) string {
	return fmt.Sprintf("%s/assets/%s?%s", f.cfg.Prefix, name, assetHash)
}

// Writes reports whether changes are offered.
func (f frame) Writes() bool { return f.cfg.AllowWrites }

// Payloads reports whether payloads are shown.
func (f frame) Payloads() bool { return f.cfg.ShowPayloads }

// Discards reports whether dead letters can be discarded.
func (f frame) Discards() bool { return f.cfg.DiscardDir != "" }

// Odd changes with each second: with it a style begins its delay anew.
func (f frame) Odd() bool { return f.Now.Unix()%2 == 1 }

// Depth is the class for a depth in a tree.
func (f frame) Depth(n int) int { return min(n, 5) }

// Name says what is looked at.
func (f frame) Name() string { return f.cfg.Name }

// Breakable reports whether there is a stack to break.
func (f frame) Breakable() bool { return f.cfg.Stack != nil }

// tab is an entry of the menu.
type tab struct {
	Name, Href string
	Current    bool
}

// Tabs returns the menu.
func (f frame) Tabs() (tabs []tab) {
	for _, t := range []struct{ path, name string }{
		{"/", "Overview"}, {"/outbox", "Outbox"}, {"/blocked", "Errors and blocked keys"}, {"/deadletters", "Dead letters"}, {"/inbox", "Inbox"},
		{"/trace", "Journey"}, {"/workers", "Relays and consumers"}, {"/audit", "Audit"},
	} {
		at := strings.TrimPrefix(f.Path, f.cfg.Prefix)
		tabs = append(tabs, tab{t.name, f.Href(t.path), at == t.path || t.path != "/" && strings.HasPrefix(at, t.path+"/")})
	}
	return tabs
}

// KeyHref returns the address of the messages of a key.
func (f frame) KeyHref(key string) string {
	return f.Href("/outbox?" + url.Values{"key": {key}}.Encode())
}

// MessageHref returns the address of a message in the outbox; "" if the event id is
// one that only other producers give.
func (f frame) MessageHref(id string) string {
	if _, err := uuid.Parse(id); err != nil {
		return ""
	}
	return f.Href("/outbox/" + url.PathEscape(id))
}
