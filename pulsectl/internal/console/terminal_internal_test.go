package console

import (
	"bytes"
	"strings"
	"testing"
)

func TestCut(t *testing.T) {
	for _, c := range []struct {
		text  string
		cells int
		at    int
		cut   string
	}{
		{"plain", 5, 4, "pla…"},
		{"日本語", 6, 5, "日本…"},
		{"日本語", 6, 4, "日…"},
		{"e\u0301te\u0301", 3, 2, "e\u0301…"}, // combining accents
		{"👩‍👩‍👧 ok", 5, 4, "👩‍👩‍👧 …"},
		{"\x1b[32mgreen\x1b[0m", 5, 3, "\x1b[32mgr…\x1b[0m"},
		{"", 0, 3, ""},
	} {
		if got := cells(c.text); got != c.cells {
			t.Errorf("%q takes %d cells, want %d", c.text, got, c.cells)
		}
		if got := cut(c.text, c.at); got != c.cut {
			t.Errorf("%q cut to %d: %q, want %q", c.text, c.at, got, c.cut)
		}
	}
}

func TestWrap(t *testing.T) {
	for name, c := range map[string]struct {
		label, text string
		width       int
		want        string
	}{
		"fits":               {"cause: ", "a  b", 80, "cause: a  b"},
		"no limit":           {"", strings.Repeat("x ", 100), 0, strings.Repeat("x ", 100)},
		"goes on below":      {"cause: ", "one two three four", 16, "cause: one two\n       three\n       four"},
		"wide characters":    {"", "日本 日本", 8, "日本\n日本"},
		"long word whole":    {"  ", "see https://example.org/a/very/long/path now", 20, "  see\n  https://example.org/a/very/long/path\n  now"},
		"lines of its own":   {"error: ", "a: is missing\nb: is missing", 80, "error: a: is missing\n       b: is missing"},
		"label half at most": {strings.Repeat("l", 30), "one two", 32, strings.Repeat("l", 30) + "one\n                two"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := wrap(c.label, c.text, c.width); got != c.want {
				t.Errorf("got\n%q\nwant\n%q", got, c.want)
			}
		})
	}
}

// Escape sequences from a database or a broker are shown, not executed.
func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"plain\nlines":                  "plain\nlines",
		"a\tb":                          "a b",
		"\x1b]0;title\x07\x1b[2Jgone\r": "\ufffd]0;title\ufffd\ufffd[2Jgone\ufffd",
		"\u009b2J":                      "\ufffd2J",
		"evil\u202etxt":                 "evil\ufffdtxt",
		"e\u0301 日本 👩‍👧":                "e\u0301 日本 👩‍👧",
	} {
		if got := visible(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// What is written while a line is drawn appears above it, in whole lines.
func TestLiveLineStaysLast(t *testing.T) {
	var screen bytes.Buffer
	width := 10
	line := &liveLine{w: &screen, width: func() int { return width }}
	write := func(text string) {
		t.Helper()
		if n, err := line.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	write("one\ntw")
	line.draw("waiting for it")
	write("o\nthr")
	line.draw("done")
	width = 5
	line.draw("narrow")
	line.clear()
	drawn := func(text string) string { return "\r\x1b[?7l" + text + "\x1b[?7h\x1b[J\r" }
	const erase = "\r \x1b[J\r\x1b[K"
	want := "one\n" + drawn("waiting …") + erase + "two\n" + drawn("waiting …") + drawn("done") + drawn("nar…") + erase + "thr\n"
	if got := screen.String(); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
