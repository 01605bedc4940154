package page

import (
	"bytes"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

//go:embed templates
var templateFiles embed.FS

// templates holds the template of each screen, by the name of its file, with the
// layout around it.
var templates = parseTemplates()

func parseTemplates() map[string]*template.Template {
	all := map[string]*template.Template{}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		panic(err) // the pattern is right
	}
	for _, file := range files {
		if name := strings.TrimSuffix(path.Base(file), ".html"); name != "layout" {
			all[name] = template.Must(template.New(name).Funcs(functions).ParseFS(templateFiles, "templates/layout.html", file))
		}
	}
	return all
}

var functions = template.FuncMap{
	"ago": ago, "clock": clock, "age": age, "counted": overview.Counted, "bounded": overview.Bounded, "many": overview.Many,
	"number": func(n int) string { return overview.Bounded(int64(n), true) }, "join": strings.Join, "tone": statusTone,
	"visible": visible, "known": func(id uuid.UUID) bool { return id != uuid.Nil },
}

// age formats how long something takes: 3s, 12m, 4h, 9d.
func age(d time.Duration) string {
	switch d = d.Abs(); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// short formats a lag with two or three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// ago is a time as its distance from now, with the time itself in its title.
func ago(now, at time.Time) template.HTML {
	if at.IsZero() {
		return "–"
	}
	text := age(now.Sub(at)) + " ago"
	if at.After(now) {
		text = "in " + age(at.Sub(now))
	}
	return timeElement(at, text)
}

// clock is a time of the server's day, or with its date if it is of another.
func clock(now, at time.Time) template.HTML {
	if at.IsZero() {
		return "–"
	}
	at, now = at.UTC(), now.UTC()
	layout := "2006-01-02 15:04:05 UTC"
	if at.Format(time.DateOnly) == now.Format(time.DateOnly) {
		layout = "15:04:05 UTC"
	}
	return timeElement(at, at.Format(layout))
}

func timeElement(at time.Time, text string) template.HTML {
	stamp := at.UTC().Format("2006-01-02T15:04:05.000Z")
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, stamp, stamp, template.HTMLEscapeString(text)))
}

// statusTone is the class of a message's state.
func statusTone(r outbox.Record) string {
	switch {
	case r.Status == outbox.Published:
		return "good"
	case r.Status == outbox.Dead:
		return "bad"
	case r.Retrying():
		return "warn"
	}
	return "dim"
}

// visible replaces control characters and what changes the direction of text,
// with which foreign text could pretend to be something else.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError) {
			return '�'
		}
		return r
	}, text)
}

// maxShownPayload limits how much of a payload is shown, in bytes.
const maxShownPayload = 64 << 10

// payload is a payload as it is shown.
type payload struct {
	Text  string
	Size  int
	Kind  string // JSON, text or bytes
	Cut   bool   // there is more
	Empty bool
}

func showPayload(body []byte) payload {
	p := payload{Size: len(body), Empty: len(body) == 0, Kind: "text"}
	shown := body
	switch indented := new(bytes.Buffer); {
	case json.Valid(body) && json.Indent(indented, body, "", "  ") == nil:
		p.Kind, shown = "JSON", indented.Bytes()
	case !utf8.Valid(body) || bytes.ContainsRune(body, 0):
		p.Kind = "bytes"
		const bytesShown = 4 << 10
		p.Cut = len(body) > bytesShown
		p.Text = hex.Dump(body[:min(len(body), bytesShown)])
		return p
	}
	if len(shown) > maxShownPayload {
		shown, p.Cut = shown[:maxShownPayload], true
	}
	p.Text = visible(strings.ToValidUTF8(string(shown), ""))
	return p
}
