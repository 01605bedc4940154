// Package web implements the command ui, and serves the web page for up.
package web

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/internal/logging"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/page"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// DefaultAddr is where the page listens unless a flag says otherwise.
const DefaultAddr = "127.0.0.1:6100"

type options struct {
	addr, tokenFile           string
	addrAsked                 bool
	hosts                     []string
	allowWrites, showPayloads bool
}

// Command returns the command ui.
func Command(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "ui", Usage: "serve a web page: overview, outbox, blocked keys, inbox, relays and consumers",
		Description: "The page only shows, unless --allow-writes is given, and it hides payloads unless --show-payloads is. It listens on loopback; " +
			"another address needs a file with a token, which browsers ask for as a password (any user), and should be behind TLS.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "addr", Value: DefaultAddr, EnvVars: []string{"PULSE_UI_ADDR"}, Usage: "`HOST:PORT` to listen on; if the default is in use, a free port"},
			&cli.BoolFlag{Name: "allow-writes", Usage: "offer changes: retry and discard messages, and with a stack of up place orders and inject faults"},
			&cli.BoolFlag{Name: "show-payloads", Usage: "show payloads and values of headers"},
			&cli.StringFlag{Name: "token-file", EnvVars: []string{"PULSE_UI_TOKEN_FILE"}, Usage: "`FILE` with a token that every request needs; required unless the address is loopback"},
			&cli.StringSliceFlag{Name: "allow-host", Usage: "`NAME` under which browsers reach the page, besides localhost and IP addresses; may be repeated"},
		},
		Action: func(ctx *cli.Context) error {
			o := options{
				addr: ctx.String("addr"), addrAsked: ctx.IsSet("addr"), tokenFile: ctx.String("token-file"), hosts: ctx.StringSlice("allow-host"),
				allowWrites: ctx.Bool("allow-writes"), showPayloads: ctx.Bool("show-payloads"),
			}
			return o.run(ctx.Context, e)
		},
	}
}

type shown struct {
	url           string
	writes, shows bool
}

var shownColumns = []console.Column[shown]{
	{Key: "url", Value: func(s shown) any { return s.url }, ID: true},
	{Key: "allowWrites", Value: func(s shown) any { return s.writes }, Head: "WRITES"},
	{Key: "showPayloads", Value: func(s shown) any { return s.shows }, Head: "PAYLOADS"},
}

func (o options) run(ctx context.Context, e *env.Env) error {
	if err := e.AnyGiven(); err != nil {
		return err
	}
	token, err := o.token()
	if err != nil {
		return err
	}
	ln, err := Listen("addr", o.addr, o.addrAsked)
	if err != nil {
		return err
	}
	defer ln.Close()
	again := func() *env.Env { return e.Again(e.IO.Silent()) }
	servers := env.NewShared(again)
	defer servers.Close()
	cfg := page.Config{
		Servers: servers, AllowWrites: o.allowWrites, ShowPayloads: o.showPayloads, Hosts: append([]string{}, o.hosts...),
		DiscardDir: ".", Actor: actor(e), Logger: logging.New(e.IO.Err, logging.Auto, slog.LevelInfo), Now: e.IO.Now,
	}
	if s, err := e.Running(); err == nil {
		cfg.Name, cfg.Stack = s.Driver().Describe(s).Name, newExample(again)
	}
	h, err := page.New(cfg)
	if err != nil {
		return fail.Wrap("cannot make the page", err)
	}
	if err := console.RenderOne(e.IO, shownColumns, shown{URL(ln), o.allowWrites, o.showPayloads}); err != nil {
		return err
	}
	if !e.IO.Structured() {
		e.IO.Notef("open %s in a browser; Ctrl-C ends", URL(ln))
	}
	return Serve(ctx, ln, h, guard(h, token), true)
}

// ServeStack serves the page of a stack that runs in this process until ctx ends.
// The data of an embedded stack is of examples: there everything is shown, and may be
// done.
func ServeStack(ctx context.Context, ln net.Listener, e *env.Env, s stack.State, log *slog.Logger) error {
	again := func() *env.Env { return e.Again(e.IO.Silent()) }
	if s.Stack == stack.Embedded {
		again = func() *env.Env { return env.For(e.IO.Silent(), s) }
	}
	servers := env.NewShared(again)
	defer servers.Close()
	h, err := page.New(page.Config{
		Servers: servers, Stack: newExample(again), Name: string(s.Stack) + " stack",
		AllowWrites: s.Stack == stack.Embedded, ShowPayloads: s.Stack == stack.Embedded,
		DiscardDir: s.DataDir, Hosts: []string{}, Actor: actor(e), Logger: log.With("service", "ui"), Now: e.IO.Now,
	})
	if err != nil {
		return err
	}
	return Serve(ctx, ln, h, h, s.Stack == stack.Embedded)
}

// actor names who makes a request: behind loopback or a shared token that is whoever
// runs the page.
func actor(e *env.Env) func(*http.Request) string {
	name := e.Actor()
	return func(*http.Request) string { return name }
}

// URL returns the address of the page, on this machine if it listens on all
// interfaces.
func URL(ln net.Listener) string {
	addr := ln.Addr().String()
	if tcp, ok := ln.Addr().(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
	}
	return "http://" + addr + "/"
}
