// Package demo implements the command demo: it starts its own stack and runs a
// scripted tour of it.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/internal/logging"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// told holds the results of the demo. Every number was counted by the services,
// the databases or the broker.
type told struct {
	orders, duringOutage, pendingDuringOutage int
	published, applied                        int
	redelivered, duplicatesSkipped            int
	lost, duplicated                          int
	verdict                                   string
}

var toldColumns = []console.Column[told]{
	{Key: "orders", Value: func(t told) any { return t.orders }},
	{Key: "duringOutage", Value: func(t told) any { return t.duringOutage }},
	{Key: "pendingDuringOutage", Value: func(t told) any { return t.pendingDuringOutage }},
	{Key: "published", Value: func(t told) any { return t.published }},
	{Key: "applied", Value: func(t told) any { return t.applied }},
	{Key: "redelivered", Value: func(t told) any { return t.redelivered }},
	{Key: "duplicatesSkipped", Value: func(t told) any { return t.duplicatesSkipped }},
	{Key: "lost", Value: func(t told) any { return t.lost }, Tone: func(t told) console.Tone { return goodIf(t.lost == 0) }},
	{Key: "duplicated", Value: func(t told) any { return t.duplicated }, Tone: func(t told) console.Tone { return goodIf(t.duplicated == 0) }},
	{Key: "verdict", Value: func(t told) any { return t.verdict }, ID: true, Tone: func(t told) console.Tone { return goodIf(t.verdict == verdictOK) }},
}

const verdictOK = "ok"

func goodIf(ok bool) console.Tone {
	if ok {
		return console.Good
	}
	return console.Bad
}

// Command returns the command demo.
func Command(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "demo", Usage: "run the whole story with real services in a few seconds; needs nothing installed; exit 1 if the verdict is not ok",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "orders", Value: 25, Usage: "`N` orders before the outage and as many during it"},
			&cli.BoolFlag{Name: "auth", Usage: "ask callers for a bearer token, which is made for the demo"},
			&cli.BoolFlag{Name: "tls", Usage: "serve HTTPS, by an authority that is made for the demo"},
			&cli.StringFlag{Name: "log-level", Value: "error", Usage: "`LEVEL` of the services' own log on stderr: debug, info, warn, error"},
		},
		Action: func(ctx *cli.Context) error {
			n := ctx.Int("orders")
			if n < 1 || n > 5000 {
				return fail.Usagef("", "--orders: %d is not between 1 and 5000", n)
			}
			level, err := logging.ParseLevel(ctx.String("log-level"))
			if err != nil {
				return fail.Usagef("", "--log-level: %v", err)
			}
			return options{n, ctx.Bool("auth"), ctx.Bool("tls"), logging.New(e.IO.Err, logging.Auto, level)}.run(ctx.Context, e)
		},
	}
}

type options struct {
	orders    int // before the outage, and as many during it
	auth, tls bool
	log       *slog.Logger
}

const promise = "A message is published if and only if its transaction commits,\n" +
	"and its effect is applied once even when it arrives twice. Watch:"

// run starts an embedded stack of its own in a temporary directory, on free
// ports, and plays the story against it as any client would.
func (o options) run(ctx context.Context, e *env.Env) (err error) {
	dir, err := os.MkdirTemp("", "pulse-events-demo-")
	if err != nil {
		return fail.Wrap("cannot create a temporary directory", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	if !e.IO.Structured() {
		e.IO.Para("", promise)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ready, ended := make(chan stack.State, 1), make(chan error, 1)
	go func() {
		ended <- stack.RunEmbedded(running, stack.Config{
			Dir: filepath.Join(dir, "state"), DataDir: filepath.Join(dir, "data"),
			BrokerAddr: "127.0.0.1:0", OrdersAddr: "127.0.0.1:0", NotificationsAddr: "127.0.0.1:0", Logger: o.log,
			Auth: o.auth, TLS: o.tls, Getenv: func(string) string { return "" },
		}, func(s stack.State) { ready <- s })
	}()
	select {
	case err := <-ended:
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &fail.Error{Kind: fail.General, Message: "the demo cannot start", Cause: err,
			Hint: "check the free space: df -h " + console.Quoted(filepath.Dir(dir)) + "; or use another directory: TMPDIR=DIR pulsectl demo"}
	case s := <-ready:
		t, err := tell(ctx, e, s, o.orders)
		stop()
		err = errors.Join(err, calledOff(<-ended))
		if err != nil {
			return err
		}
		return conclude(e, t)
	}
}

// calledOff returns nil for an error caused by the end of the context.
func calledOff(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// tell plays the story against the stack s and returns its results.
func tell(ctx context.Context, e *env.Env, s stack.State, n int) (told, error) {
	guest := env.For(e.IO, s)
	defer func() { _ = guest.Close() }()
	out := *e.IO
	if out.Structured() { // nothing but the result
		out.Out, out.OutTTY = io.Discard, false
	}
	st := &story{env: guest, out: &out, n: n, state: s}
	err := st.play(ctx)
	return st.told, err
}

func conclude(e *env.Env, t told) error {
	if !e.IO.Structured() {
		e.IO.Println("")
	}
	if err := console.RenderOne(e.IO, toldColumns, t); err != nil {
		return err
	}
	if t.verdict != verdictOK {
		return fail.New(fail.General, "run it again with --log-level debug", "the verdict is %q", t.verdict)
	}
	if !e.IO.Structured() {
		e.IO.Notef("play with it yourself: pulsectl up")
	}
	return nil
}

// label returns the prefix of a line about a component of the stack.
func label(of string) string { return fmt.Sprintf("   %-23s", of) }

// fact prints what a component of the stack has done.
func (st *story) fact(of, text string) { st.out.Para(label(of), text) }

// watch is like fact, and updates the line while work runs.
func (st *story) watch(of string, told func() string, work func() error) error {
	return st.out.Live(label(of), told, work)
}

// pace is the pause between chapters on a terminal, so that a person can read.
const pace = 1500 * time.Millisecond

// chapter begins the next part of the story.
func (st *story) chapter(ctx context.Context, title string) {
	if st.chapters++; st.out.OutTTY && st.chapters > 1 {
		select {
		case <-time.After(pace):
		case <-ctx.Done():
		}
	}
	st.out.Println("")
	st.out.Para(st.out.Paint(console.Strong, fmt.Sprintf("%d  ", st.chapters)), st.out.Paint(console.Strong, title))
}
