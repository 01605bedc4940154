package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// A block is drawn over itself, cut to the terminal, and left with the cursor
// below it.
func TestLiveBlock(t *testing.T) {
	var screen bytes.Buffer
	width, height := 10, 24
	block := &liveBlock{w: &screen, width: func() int { return width }, height: func() int { return height }}
	drawn := func(lines ...string) string {
		return "\r\x1b[?7l" + strings.Join(lines, "\x1b[K\n") + "\x1b[K\x1b[?7h\x1b[J"
	}
	block.draw("one\nand a long line\nthree")
	want := drawn("one", "and a lo…", "three") + "\x1b[2A\r"
	height = 2
	block.draw("one\ntwo\nthree")
	want += drawn("one", "… and 2 …") + "\x1b[1A\r"
	block.draw("one")
	want += drawn("one") + "\r"
	block.end()
	want += drawn("one") + "\n"
	block.end()
	if got := screen.String(); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// watchTest runs Watch with looks, after the last of which it is interrupted.
func watchTest(t *testing.T, format Format, looks ...any) (stdout, stderr string, err error) {
	synctest.Test(t, func(t *testing.T) {
		var out, said bytes.Buffer
		c := &IO{Out: &out, Err: &said, Format: format, Now: time.Now}
		c.SetColor(ColorNever, func(string) string { return "" })
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		err = c.Watch(ctx, time.Second, func(_ context.Context, c *IO) error {
			if n == len(looks) {
				cancel()
				return errors.New("in the middle of this look")
			}
			n++
			switch look := looks[n-1].(type) {
			case error:
				return look
			case string:
				c.Notef("nobody has to know")
				return RenderOne(c, []Column[string]{{Key: "look", Value: func(s string) any { return s }}}, look)
			}
			panic("neither")
		})
		stdout, stderr = out.String(), said.String()
	})
	return stdout, stderr, err
}

func TestWatch(t *testing.T) {
	away := fail.New(fail.Unreachable, "", "away")
	for name, c := range map[string]struct {
		format         Format
		looks          []any
		stdout, stderr string
		err            string
		code           int
	}{
		"in a pipe":           {Auto, []any{"a", "b"}, "look\ta\n\nlook\tb\n", "", "", 0},
		"JSON":                {JSON, []any{"a", "b"}, "{\"look\":\"a\"}\n{\"look\":\"b\"}\n", "", "", 0},
		"an error, told once": {Auto, []any{"a", away, away, "b", away, "c"}, "look\ta\n\nlook\tb\n\nlook\tc\n", "error: away\nerror: away\n", "", 0},
		"the last look fails": {Auto, []any{"a", away}, "look\ta\n", "error: away\n", "away", 5},
		"a mistake":           {Auto, []any{fail.Usagef("", "wrong"), "a"}, "", "", "wrong", 2},
		"no look":             {Auto, nil, "", "", "context canceled", 130},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := watchTest(t, c.format, c.looks...)
			text, code := "", 0
			if err != nil {
				text, code = err.Error(), fail.From(err).ExitCode()
			}
			if stdout != c.stdout || stderr != c.stderr || text != c.err || code != c.code {
				t.Errorf("got\n%q\n%q\n%q, %d\nwant\n%q\n%q\n%q, %d", stdout, stderr, text, code, c.stdout, c.stderr, c.err, c.code)
			}
		})
	}
}

// On a terminal an error takes the place of the output, with the time since
// when, and a look that takes long is seen to do so.
func TestWatchTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		c := &IO{Out: &out, Err: &out, OutTTY: true, ErrTTY: true, OutWidth: func() int { return 80 }, Now: time.Now}
		c.SetColor(ColorNever, func(string) string { return "" })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		begun, n := time.Now(), 0
		err := c.Watch(ctx, time.Second, func(context.Context, *IO) error {
			switch n++; n {
			case 1, 2:
				return fail.New(fail.Unreachable, "", "away")
			case 3:
				time.Sleep(5500 * time.Millisecond)
			case 4:
				cancel()
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		at := func(s int) string { return begun.Add(time.Duration(s) * time.Second).Format(clockLayout) }
		for _, want := range []string{
			fmt.Sprintf("error: away\x1b[K\nno answer since %s\x1b[K\nas of %s, every 1s; Ctrl-C ends", at(0), at(1)),
			fmt.Sprintf("as of %s; the next look takes 4s so far", at(1)),
			fmt.Sprintf("\x1b[?7las of %s, every 1s; Ctrl-C ends\x1b[K\x1b[?7h\x1b[J\n", at(2)),
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in\n%q", want, out.String())
			}
		}
	})
}
