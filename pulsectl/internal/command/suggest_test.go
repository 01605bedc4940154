package command

import (
	"bytes"
	"errors"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// What is suggested, and what the library alone would suggest.
func TestSuggestions(t *testing.T) {
	for _, c := range []struct {
		args []string
		hint string
	}{
		{[]string{"outbx"}, "did you mean: pulsectl outbox"},
		{[]string{"outbox", "lst"}, "did you mean: pulsectl outbox list"},
		{[]string{"outbox", "ls", "--stat", "dead"}, "did you mean: --status"},
		// A flag of all commands, behind a command.
		{[]string{"outbox", "ls", "--outptu", "json"}, "did you mean: --output"},
		// No name is similar.
		{[]string{"xyzzy"}, "run: pulsectl --help"},
		{[]string{"outbox", "ls", "--xyzzy"}, "run: pulsectl outbox ls --help"},
	} {
		var out bytes.Buffer
		err := newApp(newTestEnv(&out)).RunContext(t.Context(), append([]string{"pulsectl"}, c.args...))
		f := new(fail.Error)
		if !errors.As(err, &f) || f.Kind != fail.Usage || f.Hint != c.hint {
			t.Errorf("%q: %v, hint %q; want %q", c.args, err, f.Hint, c.hint)
		}
		if out.Len() > 0 {
			t.Errorf("%q writes %q", c.args, out.String())
		}
	}

	app := newApp(newTestEnv(new(bytes.Buffer)))
	if got := cli.SuggestCommand(app.Commands, "xyzzy"); got == "" {
		t.Error("the library suggests no command that is unlike what was typed any more: suggest.go can go")
	}
	ls := leaves(app.Commands, "")["outbox ls"]
	if got := cli.SuggestFlag(ls.Flags, "outptu", false); got == "--output" {
		t.Error("the library suggests flags of all commands now: suggest.go can go")
	}
}
