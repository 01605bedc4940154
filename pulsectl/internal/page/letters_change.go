package page

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/deadletters"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

const (
	// lettersChangeLimit limits what one form does to dead letters. What is left
	// then stays in the queue.
	lettersChangeLimit = 15 * time.Minute
	// waveLimit limits one wave of a heal.
	waveLimit = 2 * time.Minute
)

// treatment does something to the letters that a filter selects, and says how it
// goes on. It returns what has come of it.
type treatment func(ctx context.Context, q deadletters.Queue, f deadletters.Filter, a deadletters.Audit, reason string, say func(string)) (string, error)

// named is a treatment with the title of its page.
type named struct {
	title string
	do    treatment
}

// treatments returns what can be done to dead letters, by its path.
func (h *Handler) treatments() map[string]named {
	all := map[string]named{"requeue": {"Requeue dead letters", h.requeue}, "heal": {"Heal dead letters", h.heal}}
	if h.cfg.DiscardDir != "" {
		all["discard"] = named{"Discard dead letters", h.discardLetters}
	}
	return all
}

// treat does a treatment while the browser waits: the page comes line by line, and
// needs no JavaScript for that. It ends if the browser goes away; what was moved by
// then is moved, the rest stays in the queue.
func (h *Handler) treat(title string, do treatment) http.HandlerFunc {
	crossOrigin := http.NewCrossOriginProtection()
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		f, reason, err := h.treated(crossOrigin, r)
		var queue deadletters.Queue
		if err == nil {
			queue, err = h.queue(r.Context())
		}
		if err != nil {
			h.render(w, r, view{template: "problem", failed: err}, nil)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), lettersChangeLimit)
		defer cancel()
		s, err := h.begin(w, r, title)
		if err != nil {
			h.render(w, r, view{template: "problem", failed: err}, nil)
			return
		}
		done, err := do(ctx, queue, f, h.audit(ctx, r, reason), reason, s.say)
		h.cfg.Logger.Info("web page: change", "path", r.URL.Path, "actor", h.cfg.Actor(r), "done", done, "error", err)
		s.end(done, err)
	}
}

// treated reads the form of a treatment.
func (h *Handler) treated(crossOrigin *http.CrossOriginProtection, r *http.Request) (f deadletters.Filter, reason string, err error) {
	if err := h.acceptable(crossOrigin, r); err != nil {
		return f, "", err
	}
	since := ""
	for _, field := range []struct {
		name string
		to   *string
	}{{"group", &f.Group}, {"reason-is", &f.Reason}, {"error", &f.Error}, {"topic", &f.Topic}, {"key", &f.Key}, {"since", &since}, {"reason", &reason}} {
		if *field.to, err = formText(r, field.name, false); err != nil {
			return f, "", err
		}
	}
	ref, err := formText(r, "ref", false)
	if err != nil {
		return f, "", err
	}
	if ref != "" {
		f.Refs = map[string]bool{ref: true}
	}
	p := &parameters{values: map[string][]string{"since": {since}}, now: h.cfg.Now()}
	f.Since = p.since("since")
	return f, reason, p.err
}

// audit returns where a treatment is recorded: in the outbox, if there is one.
func (h *Handler) audit(ctx context.Context, r *http.Request, reason string) deadletters.Audit {
	ob, err := h.cfg.Servers.Outbox(ctx)
	if err != nil {
		return deadletters.Audit{}
	}
	operator := ob.Operator(h.cfg.Actor(r), reason)
	return deadletters.Audit{Operator: &operator}
}

func (h *Handler) requeue(ctx context.Context, q deadletters.Queue, f deadletters.Filter, a deadletters.Audit, _ string, say func(string)) (string, error) {
	report, err := q.Requeue(ctx, deadletters.Requeue{Filter: f, Audit: a, Done: counting(say, "requeued")})
	return reported(report, "requeued", err)
}

func (h *Handler) discardLetters(ctx context.Context, q deadletters.Queue, f deadletters.Filter, a deadletters.Audit, reason string, say func(string)) (string, error) {
	if reason == "" {
		return "", badParameter{"reason", "is empty"}
	}
	name := filepath.Join(h.cfg.DiscardDir, fmt.Sprintf("discarded-%s-%s.jsonl", filepath.Base(q.QueueName()), h.cfg.Now().UTC().Format("20060102T150405.000")))
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fail.Wrap("cannot write what is discarded", err)
	}
	say("The letters are written to " + name + ".")
	report, err := q.Discard(ctx, deadletters.Discard{Filter: f, Audit: a, Reason: reason, To: file, Done: counting(say, "discarded")})
	return reported(report, "discarded", errors.Join(err, file.Close()))
}

func (h *Handler) heal(ctx context.Context, q deadletters.Queue, f deadletters.Filter, a deadletters.Audit, _ string, say func(string)) (string, error) {
	in, err := h.cfg.Servers.Inbox(ctx)
	if err != nil {
		return "", err
	}
	told := ""
	report, err := q.Heal(ctx, deadletters.Heal{Filter: f, Timeout: waveLimit, Applied: in.Applied, Audit: a, Progress: func(wave deadletters.Wave) {
		text := fmt.Sprintf("Wave %d: %d of %s applied", wave.Number, wave.Applied, overview.Many(wave.Sent, "letter"))
		if wave.Retrying > 0 {
			text += fmt.Sprintf(", %d wait for a retry", wave.Retrying)
		}
		if wave.Consumers == 0 {
			text += ", nobody consumes the queue"
		}
		if text != told {
			told = text
			say(text + ".")
		}
	}})
	for _, l := range report.Relapses {
		say(fmt.Sprintf("%s failed again: %s", l.Ref, l.Error))
	}
	text := fmt.Sprintf("%s sent, %d applied, %d left.", overview.Many(report.Sent, "letter"), report.Applied, report.Left)
	if report.Skipped > 0 {
		text += fmt.Sprintf(" %d cannot be watched and stay: requeue or discard them.", report.Skipped)
	}
	return text + unrecorded(report.AuditErr), err
}

// counting returns a function that says from time to time how many letters are done.
func counting(say func(string), verb string) func(*deadletters.Letter, error) {
	var mu sync.Mutex
	n, told := 0, time.Time{}
	return func(_ *deadletters.Letter, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			return
		}
		if n++; time.Since(told) > time.Second {
			told = time.Now()
			say(fmt.Sprintf("%s %s so far.", overview.Many(n, "letter"), verb))
		}
	}
}

func reported(r deadletters.Report, verb string, err error) (string, error) {
	text := fmt.Sprintf("%s of %s %s.", overview.Bounded(int64(r.Done), true), overview.Many(r.Matched, "matching letter"), verb)
	if r.Refused > 0 {
		text += fmt.Sprintf(" %d were refused, and stay.", r.Refused)
	}
	for _, f := range r.Failures {
		text += fmt.Sprintf("\n%s: %v", f.Ref, f.Err)
	}
	if r.Interrupted {
		text += " Interrupted: the others stay."
	}
	return text + unrecorded(r.AuditErr), err
}

func unrecorded(err error) string {
	if err == nil {
		return ""
	}
	return "\nThis is not recorded in the outbox's audit: " + err.Error()
}

// linesMark is where the lines go in the page around them.
const linesMark = `<div id="lines"></div>`

// streamed is a page that is written while something is done.
type streamed struct {
	h    *Handler
	r    *http.Request
	mu   sync.Mutex
	w    http.ResponseWriter
	rest []byte // the end of the page
}

// begin writes the page up to where the lines go.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request, title string) (*streamed, error) {
	f := frame{Handler: h, Title: title, Path: h.cfg.Prefix + "/deadletters", Token: h.token(w, r), Now: h.cfg.Now()}
	var page bytes.Buffer
	if err := templates["treated"].ExecuteTemplate(&page, "layout", f); err != nil {
		return nil, err
	}
	head, rest, _ := bytes.Cut(page.Bytes(), []byte(linesMark))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no")
	s := &streamed{h: h, r: r, w: w, rest: rest}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	s.write(string(head) + "<ol class=\"lines\" role=\"log\">\n")
	return s, nil
}

func (s *streamed) write(html string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := http.NewResponseController(s.w)
	_ = c.SetWriteDeadline(time.Now().Add(writeLimit))
	_, _ = s.w.Write([]byte(html)) // the browser may have gone: then the request's context ends
	_ = c.Flush()
}

func (s *streamed) say(text string) {
	s.write("<li>" + template.HTMLEscapeString(visible(text)) + "</li>\n")
}

func (s *streamed) end(done string, err error) {
	out := "</ol>\n"
	if err != nil {
		p, status := s.h.explain(s.r, err)
		if status == http.StatusInternalServerError {
			p.Heading = "It ended before all was done"
		}
		var problem bytes.Buffer
		if templates["treated"].ExecuteTemplate(&problem, "problem", p) == nil {
			out += problem.String()
		}
	}
	if done != "" {
		out += `<p class="notice outcome" role="status">` + strings.ReplaceAll(template.HTMLEscapeString(visible(done)), "\n", "<br>") + "</p>\n"
	}
	s.write(out + string(s.rest))
}
