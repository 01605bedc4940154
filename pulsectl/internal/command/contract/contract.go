// Package contract implements the commands that look at contracts.
package contract

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	wirecontract "github.com/asimalizada/pulse-events/outbox/wire/contract"
	"github.com/asimalizada/pulse-events/pulsectl/internal/compat"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/contracts"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Command returns the command contract.
func Command(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "contract", Usage: "look at the contracts of messages: JSON Schemas by type and version",
		Subcommands: []*cli.Command{list(e), validate(e), diff(e), check(e), push(e), pull(e), describe(e)},
	}
}

func dirFlag() cli.Flag {
	return &cli.StringFlag{Name: "dir", Value: "contracts", Usage: "`DIRECTORY` with the contracts, as TYPE/VERSION.json"}
}

func compareFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "mode", Value: string(contracts.Full), Usage: "`WHO` has to understand whom: backward (new readers the old messages), forward (old readers the new messages), full (both)"},
		&cli.StringFlag{Name: "role", Usage: "in place of --mode, the `ROLE` of the service: consumer (backward) or producer (forward)"},
		&cli.BoolFlag{Name: "any-properties", Usage: "producers may write properties that their contract does not declare"},
	}
}

// comparison reads compareFlags.
func comparison(ctx *cli.Context) (contracts.Mode, compat.Options, error) {
	o := compat.Options{AnyProperties: ctx.Bool("any-properties")}
	mode := contracts.Mode(ctx.String("mode"))
	switch role := ctx.String("role"); {
	case role != "" && ctx.IsSet("mode"):
		return mode, o, fail.Usagef("give one of them", "--mode and --role exclude each other")
	case role == "consumer":
		mode = contracts.Backward
	case role == "producer":
		mode = contracts.Forward
	case role != "":
		return mode, o, fail.Usagef("have: consumer, producer", "--role: unknown value %q", role)
	}
	switch mode {
	case contracts.Backward, contracts.Forward, contracts.Full:
		return mode, o, nil
	}
	return mode, o, fail.Usagef("have: backward, forward, full", "--mode: unknown value %q", string(mode))
}

// open returns the directory of the contracts.
func open(ctx *cli.Context) (string, fs.FS, error) {
	dir := ctx.String("dir")
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = errors.New("it is no directory")
	}
	if err != nil {
		return dir, nil, &fail.Error{Kind: fail.NotFound, Message: "cannot read the contracts in " + dir, Cause: err, Hint: "name their directory with --dir"}
	}
	return dir, os.DirFS(dir), nil
}

// load reads all contracts of the directory.
func load(ctx *cli.Context) (fs.FS, *wirecontract.Set, error) {
	dir, files, err := open(ctx)
	if err != nil {
		return nil, nil, err
	}
	set, err := wirecontract.Load(files, wirecontract.Config{})
	if err != nil {
		return nil, nil, &fail.Error{Kind: fail.General, Message: "the contracts in " + dir + " cannot be used", Cause: err}
	}
	return files, set, nil
}

var listColumns = []console.Column[wirecontract.Contract]{
	{Key: "contract", Value: func(c wirecontract.Contract) any { return c.String() }, ID: true},
	{Key: "type", Value: func(c wirecontract.Contract) any { return c.Name }},
	{Key: "version", Value: func(c wirecontract.Contract) any { return c.Version }},
	{Key: "file", Value: func(c wirecontract.Contract) any { return c.File }},
}

func list(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "ls", Usage: "list the contracts", Flags: []cli.Flag{dirFlag()},
		Action: func(ctx *cli.Context) error {
			_, files, err := open(ctx)
			if err != nil {
				return err
			}
			all, err := wirecontract.List(files)
			if err != nil {
				return fail.Wrap("cannot list the contracts", err)
			}
			return console.RenderList(e.IO, console.List[wirecontract.Contract]{Columns: listColumns, Items: all})
		},
	}
}

// schemaAt returns the schema in a file. It may refer to files in the directory
// above its own, as a contract does.
func schemaAt(file string) (compat.Schema, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return compat.Schema{}, fail.Wrap("cannot read "+file, err)
	}
	if _, err := os.Stat(abs); err != nil {
		return compat.Schema{}, &fail.Error{Kind: fail.NotFound, Message: "cannot read the schema", Cause: err}
	}
	dir, name := filepath.Split(abs)
	parent, last := filepath.Split(filepath.Clean(dir))
	return compat.In(os.DirFS(parent), last+"/"+name), nil
}

func diff(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "diff", Usage: "compare two versions of a schema: exit 0 if they are compatible, 1 if not",
		ArgsUsage: "OLD.json NEW.json", Flags: compareFlags(),
		Action: func(ctx *cli.Context) error {
			if ctx.NArg() != 2 {
				return fail.Usagef("run: pulsectl contract diff OLD.json NEW.json", "two files expected, got %d", ctx.NArg())
			}
			mode, o, err := comparison(ctx)
			if err != nil {
				return err
			}
			var both [2]compat.Schema
			for i := range both {
				if both[i], err = schemaAt(ctx.Args().Get(i)); err != nil {
					return err
				}
			}
			refusals, err := contracts.Compare(both[0], both[1], mode, o)
			if err != nil {
				return &fail.Error{Kind: fail.General, Message: "cannot compare", Cause: err}
			}
			for i := range refusals {
				refusals[i].Contract, refusals[i].Against = ctx.Args().Get(1), ctx.Args().Get(0)
			}
			return report(e, contracts.Report{Compared: 1, Refusals: refusals})
		},
	}
}
