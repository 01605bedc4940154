package dlq

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/deadletters"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

func exportCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "export", Usage: "write dead letters as JSON lines, each with everything that AMQP carries; they stay in the queue", ArgsUsage: "[ID... | -]",
		Flags: slices.Concat(queueFlags(), filterFlags(), []cli.Flag{&cli.StringFlag{Name: "file", Usage: "write to `PATH`, which must not exist, instead of stdout"}}),
		Action: func(ctx *cli.Context) error {
			f, err := readFilter(ctx, e)
			if err != nil {
				return err
			}
			queues, err := target(ctx, e)
			if err != nil {
				return err
			}
			return export(ctx.Context, e, queues, f, ctx.String("file"))
		},
	}
}

type exported struct {
	letters int
	file    string
}

var exportedColumns = []console.Column[exported]{
	{Key: "exported", Value: func(x exported) any { return x.letters }},
	{Key: "file", Value: func(x exported) any { return x.file }},
}

func export(ctx context.Context, e *env.Env, queues []deadletters.Queue, f deadletters.Filter, name string) (err error) {
	to := e.IO.Out
	if name != "" {
		file, err := newFile(name, "--file")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		to = file
	}
	n := 0
	err = reading(ctx, e, "the dead letters to be exported", queues, func(queue deadletters.Queue) error {
		written, err := queue.Export(ctx, f, to)
		n += written
		return err
	})
	switch {
	case err != nil:
		return fail.Wrap("cannot export the dead letters", err)
	case name == "":
		e.IO.Notef("%s dead letters", reconcile.Thousands(n))
		return nil
	}
	return console.RenderOne(e.IO, exportedColumns, exported{n, name})
}

// newFile creates a file that only its owner may read: letters hold what customers
// are called.
func newFile(name, flag string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fail.Usagef("", "%s: %v", flag, err)
	}
	return file, nil
}
