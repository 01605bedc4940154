// Package bench implements the command bench, which measures rates and
// latencies on the given servers.
package bench

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/bench"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Command returns the command bench.
func Command(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "measure rates and latencies on the given servers; beside the bare AMQP client's on the same ones",
		Description: "The tables and queues of a measurement are its own and are removed in the end. Without flags, environment or a " +
			"running stack, servers are started for it: SQLite and the development broker.",
		Subcommands: []*cli.Command{
			measurement(e, "relay", "drain a backlog, and time messages from commit to confirm", outboxSide, bench.MeasureRelay, relayColumns,
				turnFlags(20_000), messageFlags(), steadyFlags(), []cli.Flag{
					&cli.StringFlag{Name: "retention", Value: "keep", Usage: "`WHAT` the relay does with published rows: keep, delete"},
				}),
			measurement(e, "inbox", "apply a full queue in which every tenth delivery is a copy", inboxSide, bench.MeasureInbox, inboxColumns,
				turnFlags(20_000), messageFlags()),
			measurement(e, "enqueue", "write a row with and without a message in the same transaction", outboxSide, bench.MeasureEnqueue, enqueueColumns,
				turnFlags(2_000), []cli.Flag{bytesFlag(), keysFlag()}),
			measurement(e, "roundtrip", "time messages from the commit that enqueues them to the one that applies them", outboxSide, bench.MeasureRoundTrip, roundTripColumns,
				messageFlags(), steadyFlags()),
		},
	}
}

// A side says which database is measured.
type side func(*env.Env) (string, error)

func outboxSide(e *env.Env) (string, error) { return e.OutboxURL() }
func inboxSide(e *env.Env) (string, error)  { return e.InboxURL() }

// measurement returns a command that prints one result.
func measurement[T any](e *env.Env, name, usage string, database side, measure func(context.Context, bench.Config) (T, error), columns []console.Column[T], flags ...[]cli.Flag) *cli.Command {
	c := &cli.Command{Name: name, Usage: usage}
	for _, some := range flags {
		c.Flags = append(c.Flags, some...)
	}
	c.Action = func(ctx *cli.Context) error {
		cfg, err := readConfig(ctx)
		if err != nil {
			return err
		}
		stop, err := servers(ctx.Context, e, database, &cfg)
		if err != nil {
			return err
		}
		var doing atomic.Value
		doing.Store("the servers")
		cfg.Progress = func(what string) { doing.Store(what) }
		var result T
		err = e.IO.Wait(ctx.Context, func() string { return "measuring: " + doing.Load().(string) }, func(io.Writer) error {
			result, err = measure(ctx.Context, cfg)
			return errors.Join(err, stop())
		})
		switch {
		case ctx.Context.Err() != nil && errors.Is(err, context.Cause(ctx.Context)):
			return fail.New(fail.Interrupted, "", "interrupted; its tables and queues are removed")
		case err != nil:
			return fail.Wrap("cannot measure", err)
		}
		return console.RenderOne(e.IO, columns, result)
	}
	return c
}

// readConfig reads and checks the flags that a command has.
func readConfig(ctx *cli.Context) (bench.Config, error) {
	c := bench.Config{
		Messages: ctx.Int("messages"), Rounds: ctx.Int("rounds"), Bytes: ctx.Int("bytes"), Keys: ctx.Int("keys"),
		Rate: ctx.Int("rate"), Duration: ctx.Duration("duration"),
	}
	for _, n := range []struct {
		flag       string
		value      int
		least, max int
	}{
		{"messages", c.Messages, 100, 10_000_000}, {"rounds", c.Rounds, 1, 100}, {"bytes", c.Bytes, 2, 1 << 20},
		{"keys", c.Keys, 0, 10_000_000}, {"rate", c.Rate, 1, 100_000},
	} {
		if has(ctx, n.flag) && (n.value < n.least || n.value > n.max) {
			return c, fail.Usagef("", "--%s: %d is not between %d and %d", n.flag, n.value, n.least, n.max)
		}
	}
	if has(ctx, "duration") && (c.Duration < 0 || c.Duration > time.Hour) {
		return c, fail.Usagef("", "--duration: %v is not between 0 and 1h", c.Duration)
	}
	switch queueType := ctx.String("queue-type"); queueType {
	case "", "quorum":
		c.QueueType = inboxrabbit.Quorum
	case "classic":
		c.QueueType = inboxrabbit.Classic
	default:
		return c, fail.Usagef("use quorum or classic", "--queue-type: %q is not a type of queue", queueType)
	}
	switch c.Wake = bench.Wake(ctx.String("wake")); c.Wake {
	case "", bench.ByCall, bench.ByNotify, bench.ByPolling:
	default:
		return c, fail.Usagef("use call, notify or poll", "--wake: %q is none of these", c.Wake)
	}
	switch retention := ctx.String("retention"); retention {
	case "", "keep":
	case "delete":
		c.Delete = true
	default:
		return c, fail.Usagef("use keep or delete", "--retention: %q is neither", retention)
	}
	return c, nil
}

func has(ctx *cli.Context, flag string) bool {
	for _, f := range ctx.Command.Flags {
		if f.Names()[0] == flag {
			return true
		}
	}
	return false
}

// servers fills in which servers are measured, and starts them if none are given.
// stop stops those.
func servers(ctx context.Context, e *env.Env, database side, c *bench.Config) (stop func() error, err error) {
	given, err := e.Given()
	if err != nil {
		return nil, err
	}
	if given == (env.Servers{}) {
		return embedded(ctx, c)
	}
	if c.Database, err = database(e); err != nil {
		return nil, err
	}
	if c.Broker, err = e.AMQPURL(); err != nil {
		return nil, err
	}
	files, err := e.AMQPTLS()
	if err != nil {
		return nil, err
	}
	c.GetTLS = files.Get()
	return func() error { return nil }, nil
}

// stopLimit bounds the end of the embedded broker.
const stopLimit = 20 * time.Second

func embedded(ctx context.Context, c *bench.Config) (stop func() error, err error) {
	dir, err := os.MkdirTemp("", "pulse-events-bench-")
	if err != nil {
		return nil, fail.Wrap("cannot create a temporary directory", err)
	}
	broker, err := devbroker.Start(context.WithoutCancel(ctx), devbroker.Config{
		Addr: "127.0.0.1:0", DataDir: filepath.Join(dir, "broker"), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, errors.Join(fail.Wrap("cannot start a broker", err), os.RemoveAll(dir))
	}
	c.Database, c.Broker = sqlite.URL(filepath.Join(dir, "given.db")), broker.URL()
	return func() error {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		return errors.Join(broker.Shutdown(limit), os.RemoveAll(dir))
	}, nil
}

func turnFlags(messages int) []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "messages", Value: messages, Usage: "`N` messages in each turn"},
		&cli.IntFlag{Name: "rounds", Value: 3, Usage: "`N` turns of each kind; the results are medians"},
	}
}

func messageFlags() []cli.Flag {
	return []cli.Flag{
		bytesFlag(), keysFlag(),
		&cli.StringFlag{Name: "queue-type", Value: "quorum", Usage: "`TYPE` of the queue: quorum, classic"},
	}
}

func bytesFlag() cli.Flag {
	return &cli.IntFlag{Name: "bytes", Value: 512, Usage: "`N` bytes in each payload"}
}

func keysFlag() cli.Flag {
	return &cli.IntFlag{Name: "keys", Usage: "`N` distinct ordering keys; 1: a hot key; 0: each message has its own"}
}

func steadyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "rate", Value: 500, Usage: "`N` messages per second while latency is measured"},
		&cli.DurationFlag{Name: "duration", Value: 5 * time.Second, Usage: "measure latency for `DURATION`"},
		&cli.StringFlag{Name: "wake", Value: string(bench.ByCall), Usage: "`HOW` the relay learns of a commit: call, as in the producer's process; notify, as from other processes (PostgreSQL); poll"},
	}
}
