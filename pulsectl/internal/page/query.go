package page

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// parameters reads the query of a URL, and keeps the first problem. A parameter
// that does not exist is one: with a misspelled filter everything would be shown.
type parameters struct {
	values url.Values
	known  []string
	err    error
	now    time.Time
}

// maxParameter limits a parameter in bytes.
const maxParameter = 255

func (h *Handler) parameters(r *http.Request) *parameters {
	values, err := url.ParseQuery(r.URL.RawQuery)
	p := &parameters{values: values, now: h.cfg.Now(), known: []string{noticeParameter}}
	if err != nil {
		p.refuse("query", "cannot be read: %v", err)
	}
	return p
}

func (p *parameters) refuse(name, format string, args ...any) {
	if p.err == nil {
		p.err = badParameter{name, fmt.Sprintf(format, args...)}
	}
}

// text returns a parameter without the blanks around it; "": not given.
func (p *parameters) text(name string) string {
	p.known = append(p.known, name)
	values := p.values[name]
	if len(values) > 1 {
		p.refuse(name, "is given %d times", len(values))
	}
	if len(values) == 0 {
		return ""
	}
	if problem := unfit(values[0]); problem != "" {
		p.refuse(name, "%s", problem)
		return ""
	}
	return strings.TrimSpace(values[0])
}

// unfit returns why a text cannot be looked for, as no column holds it; "": it
// can.
func unfit(text string) string {
	switch {
	case len(text) > maxParameter:
		return fmt.Sprintf("is longer than %d bytes", maxParameter)
	case !utf8.ValidString(text):
		return "is not valid UTF-8"
	case strings.ContainsFunc(text, unicode.IsControl):
		return "contains a control character"
	}
	return ""
}

// one returns a parameter that has to be one of some words; "": not given.
func (p *parameters) one(name string, words ...string) string {
	word := p.text(name)
	if word != "" && !slices.Contains(words, word) {
		p.refuse(name, "%q is none of %s", word, strings.Join(words, ", "))
		return ""
	}
	return word
}

// number returns a positive number; 0: not given.
func (p *parameters) number(name string) int64 {
	word := p.text(name)
	if word == "" {
		return 0
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil || n < 1 {
		p.refuse(name, "%q is not a positive number", word)
		return 0
	}
	return n
}

// since returns the time that a duration or a time in RFC 3339 means; zero: not
// given.
func (p *parameters) since(name string) time.Time {
	word := p.text(name)
	if word == "" {
		return time.Time{}
	}
	if d, err := time.ParseDuration(word); err == nil && d >= 0 {
		return p.now.Add(-d)
	}
	at, err := time.Parse(time.RFC3339, word)
	if err != nil || at.Year() < 1 || at.Year() > 9999 {
		p.refuse(name, "%q is neither a duration such as 15m nor a time such as 2026-01-31T08:00:00Z", word)
		return time.Time{}
	}
	return at
}

// check returns the first problem.
func (p *parameters) check() error {
	for name := range p.values {
		if !slices.Contains(p.known, name) {
			slices.Sort(p.known)
			p.refuse(name, "there is no such parameter here; have %s", strings.Join(slices.DeleteFunc(slices.Compact(p.known), func(name string) bool { return name == noticeParameter }), ", "))
		}
	}
	return p.err
}

// with returns the query with one parameter changed; "": removed.
func (p *parameters) with(name, value string) string {
	changed := url.Values{}
	for key, values := range p.values {
		if key != noticeParameter && len(values) > 0 && values[0] != "" {
			changed[key] = values[:1]
		}
	}
	changed.Del(name)
	if value != "" {
		changed.Set(name, value)
	}
	if len(changed) == 0 {
		return "?"
	}
	return "?" + changed.Encode()
}
