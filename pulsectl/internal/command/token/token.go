// Package token implements the command token: bearer tokens for the APIs of the
// services.
package token

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/examples/auth"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Command returns the command token.
func Command(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "token", Usage: "bearer tokens for the APIs of the services",
		Subcommands: []*cli.Command{
			{
				Name: "new", Usage: "make a token, and the line with its hash for the services' file of tokens", ArgsUsage: "NAME",
				Description: "stdout gets the token, which is shown this once: the line has only its hash. The line goes to stderr, or to the end of a file of tokens, that of PULSE_AUTH_TOKENS_FILE: " +
					"the services take it up without a restart. For example: pulsectl token new shop --append-to tokens > shop.token",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "append-to", Usage: "`FILE` of tokens to write the line to; it is made if there is none"},
					&cli.StringFlag{Name: "scopes", Usage: "`SCOPES` separated by commas: " + strings.Join(auth.Scopes(), ", ") + " (default: all)"},
					&cli.StringFlag{Name: "customer", Usage: "`ID` of the only customer that the token acts for (default: any)"},
					&cli.StringFlag{Name: "expires", Usage: "end of the token: a `DURATION` such as 720h, or a time in RFC 3339 (default: never)"},
				},
				Action: func(ctx *cli.Context) error {
					name, err := env.OneArg(ctx, "name of the token")
					if err != nil {
						return err
					}
					return options{name, ctx.String("scopes"), ctx.String("customer"), ctx.String("expires"), ctx.String("append-to")}.run(e)
				},
			},
			{
				Name: "show", Usage: "print the token that pulsectl sends: from the flag, the environment or the running stack",
				Description: `For example: curl -H "Authorization: Bearer $(pulsectl token show)" http://127.0.0.1:6101/orders`,
				Action:      func(*cli.Context) error { return show(e) },
			},
		},
	}
}

type options struct{ name, scopes, customer, expires, file string }

// made is a new token with its line.
type made struct{ token, line string }

func (o options) run(e *env.Env) error {
	t := auth.Token{Name: o.name, Customer: o.customer}
	for scope := range strings.SplitSeq(o.scopes, ",") {
		if scope = strings.TrimSpace(scope); scope != "" {
			t.Scopes = append(t.Scopes, scope)
		}
	}
	if o.expires != "" {
		after, err := time.ParseDuration(o.expires)
		if t.Expires = e.IO.Now().Add(after); err != nil {
			t.Expires, err = time.Parse(time.RFC3339, o.expires)
		}
		if err != nil || !t.Expires.After(e.IO.Now()) {
			return fail.Usagef("for example: --expires 720h, --expires 2030-01-31T00:00:00Z", "--expires: %q is no duration or time to come", o.expires)
		}
	}
	secret, t, err := auth.NewToken(t)
	if err != nil {
		return fail.Usagef("for example: pulsectl token new shop --scopes orders:write,orders:read", "%v", err)
	}
	if o.file != "" {
		if err := appendTo(o.file, t); err != nil {
			return &fail.Error{Kind: fail.Usage, Message: "--append-to", Cause: err}
		}
	}
	if e.IO.Structured() {
		return console.RenderOne(e.IO, []console.Column[made]{
			{Key: "token", Value: func(m made) any { return m.token }, ID: true},
			{Key: "line", Value: func(m made) any { return m.line }},
		}, made{secret, t.String()})
	}
	e.IO.Println(secret)
	if o.file != "" {
		return nil
	}
	e.IO.Notef("the token is above, and shown this once; this is its line for the file of PULSE_AUTH_TOKENS_FILE:\n%s", t)
	return nil
}

// appendTo writes a line to the end of a file of tokens, if that stays one.
func appendTo(path string, t auth.Token) (err error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	line := t.String() + "\n"
	if len(text) > 0 && text[len(text)-1] != '\n' {
		line = "\n" + line
	}
	if _, err := auth.ParseTokens(string(text) + line); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}

func show(e *env.Env) error {
	token, err := e.APIToken()
	if err != nil {
		return err
	}
	if token == "" {
		return fail.New(fail.NotFound, "the embedded stack needs none; else set PULSE_API_TOKEN_FILE", "no token is set, and no running stack has one")
	}
	e.IO.Println(token)
	return nil
}
