package console_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

type row struct {
	id   string
	n    int
	at   time.Time
	note string
}

var (
	now     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	columns = []console.Column[row]{
		{Key: "id", Value: func(r row) any { return r.id }, ID: true},
		{Key: "count", Value: func(r row) any { return r.n }},
		{Key: "createdAt", Value: func(r row) any { return r.at }},
		{Key: "note", Value: func(r row) any { return r.note }, Wide: true},
		{Key: "body", Value: func(r row) any { return json.RawMessage(`{"a":1}`) }, Only: true},
	}
	rows = []row{{"a", 1, now.Add(-90 * time.Second), "tab\there"}, {"bb", 22, time.Time{}, ""}}
)

func render(t *testing.T, format console.Format, tty bool, list console.List[row]) string {
	t.Helper()
	var out, errs bytes.Buffer
	c := &console.IO{Out: &out, Err: &errs, OutTTY: tty, Format: format, Now: func() time.Time { return now }}
	c.SetColor(console.ColorAuto, func(string) string { return "" })
	if err := console.RenderList(c, list); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestRenderList(t *testing.T) {
	list := console.List[row]{Columns: columns, Items: rows, Next: "7"}
	for name, tc := range map[string]struct {
		format console.Format
		tty    bool
		want   string
	}{
		"a pipe gets TSV without a heading": {console.Auto, false,
			"a\t1\t2026-03-01T11:58:30Z\ttab here\nbb\t22\t\t\n"},
		"name": {console.Name, true, "a\nbb\n"},
		"table": {console.Table, false,
			"ID  COUNT  CREATED AT\na   1      1m\nbb  22     -\n"},
		"wide": {console.Wide, false,
			"ID  COUNT  CREATED AT  NOTE\na   1      1m          tab here\nbb  22     -           -\n"},
		"jsonl": {console.JSONL, false,
			`{"id":"a","count":1,"createdAt":"2026-03-01T11:58:30Z","note":"tab\there","body":{"a":1}}` + "\n" +
				`{"id":"bb","count":22,"createdAt":null,"note":"","body":{"a":1}}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := render(t, tc.format, tc.tty, list); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestRenderListJSON(t *testing.T) {
	var got struct {
		Items []struct {
			ID    string `json:"id"`
			Count int    `json:"count"`
		} `json:"items"`
		Next *string `json:"next"`
	}
	for _, tc := range []struct {
		items []row
		next  string
	}{{rows, "7"}, {nil, ""}} {
		text := render(t, console.JSON, false, console.List[row]{Columns: columns, Items: tc.items, Next: tc.next})
		got.Next = nil
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if len(got.Items) != len(tc.items) || (got.Next != nil) != (tc.next != "") {
			t.Errorf("items %d, next %v in %s", len(got.Items), got.Next, text)
		}
		if !strings.Contains(text, `"items": [`) {
			t.Errorf("an empty list must be [], not null: %s", text)
		}
	}
}

// Colour depends on the settings, and is never written to a pipe by default.
func TestSetColor(t *testing.T) {
	for name, tc := range map[string]struct {
		mode console.ColorMode
		tty  bool
		env  map[string]string
		want bool
	}{
		"terminal":                 {console.ColorAuto, true, nil, true},
		"pipe":                     {console.ColorAuto, false, nil, false},
		"NO_COLOR":                 {console.ColorAuto, true, map[string]string{"NO_COLOR": "1"}, false},
		"dumb terminal":            {console.ColorAuto, true, map[string]string{"TERM": "dumb"}, false},
		"CLICOLOR_FORCE":           {console.ColorAuto, false, map[string]string{"CLICOLOR_FORCE": "1"}, true},
		"always beats NO_COLOR":    {console.ColorAlways, false, map[string]string{"NO_COLOR": "1"}, true},
		"never beats the terminal": {console.ColorNever, true, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := &console.IO{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}, OutTTY: tc.tty, Now: time.Now}
			c.SetColor(tc.mode, func(k string) string { return tc.env[k] })
			painted := c.Paint(console.Bad, "dead")
			if got := strings.Contains(painted, "\x1b["); got != tc.want || !strings.Contains(painted, "dead") {
				t.Errorf("painted %q, colour wanted: %v", painted, tc.want)
			}
		})
	}
}

func TestFail(t *testing.T) {
	e := &fail.Error{Kind: fail.Schema, Message: "cannot list", Cause: bytes.ErrTooLarge, Hint: "run: pulsectl migrate up"}
	for format, want := range map[console.Format]string{
		console.Table: "error: cannot list\ncause: bytes.Buffer: too large\nhint:  run: pulsectl migrate up\n",
		console.JSONL: "{\n  \"error\": {\n    \"code\": \"schema\",\n    \"message\": \"cannot list: bytes.Buffer: too large\",\n    \"hint\": \"run: pulsectl migrate up\"\n  }\n}\n",
	} {
		var out, errs bytes.Buffer
		c := &console.IO{Out: &out, Err: &errs, Format: format, Now: time.Now}
		c.SetColor(console.ColorNever, func(string) string { return "" })
		c.Fail(e)
		if errs.String() != want || out.Len() > 0 {
			t.Errorf("%s: stderr\n%s\nwant\n%s\nstdout %q", format, errs.String(), want, out.String())
		}
	}
}
