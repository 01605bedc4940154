package contract

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	wirecontract "github.com/asimalizada/pulse-events/outbox/wire/contract"
	"github.com/asimalizada/pulse-events/outbox/wire/contract/registry"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

func registryFlags() []cli.Flag {
	return []cli.Flag{dirFlag(),
		&cli.StringFlag{Name: "registry", Usage: "base `URL` of a schema registry with Confluent's REST API (env PULSE_REGISTRY_URL)"},
		&cli.StringFlag{Name: "prefix", EnvVars: []string{"PULSE_REGISTRY_PREFIX"}, Usage: "`TEXT` before the names of contracts in those of subjects"},
		&cli.StringFlag{Name: "suffix", EnvVars: []string{"PULSE_REGISTRY_SUFFIX"}, Usage: "`TEXT` behind them, such as -value"},
		&cli.DurationFlag{Name: "timeout", Value: registry.DefaultTimeout, Usage: "`LIMIT` of each request"},
	}
}

// client returns a client of the registry that flags and environment name.
func client(ctx *cli.Context, e *env.Env) (*registry.Client, error) {
	none := func(stack.State) string { return "" }
	setting := func(name string) (string, error) { return e.Setting("", name, none) }
	url, err := e.Setting(ctx.String("registry"), "PULSE_REGISTRY_URL", none)
	if err != nil {
		return nil, err
	}
	if url == "" {
		return nil, fail.Usagef("set PULSE_REGISTRY_URL or --registry, such as https://registry.example.com", "no schema registry given")
	}
	config, err := registryTLS(e)
	if err != nil {
		return nil, err
	}
	cfg := registry.Config{URL: url, TLS: config, Prefix: ctx.String("prefix"), Suffix: ctx.String("suffix"), Timeout: ctx.Duration("timeout")}
	var first registry.Credentials
	read := func(context.Context) (c registry.Credentials, err error) {
		for name, value := range map[string]*string{"USER": &c.Username, "PASSWORD": &c.Password, "TOKEN": &c.Token} {
			if *value, err = setting("PULSE_REGISTRY_" + name); err != nil {
				return c, err
			}
		}
		return c, nil
	}
	if first, err = read(ctx.Context); err != nil {
		return nil, err
	}
	if first != (registry.Credentials{}) {
		cfg.Credentials = read
	}
	c, err := registry.New(cfg)
	if err != nil {
		return nil, fail.Usagef("for example: https://registry.example.com", "%v", err)
	}
	return c, nil
}

func registryTLS(e *env.Env) (*tls.Config, error) {
	files := rabbit.TLSFiles{CA: e.Getenv("PULSE_REGISTRY_CA_FILE"), Cert: e.Getenv("PULSE_REGISTRY_CERT_FILE"), Key: e.Getenv("PULSE_REGISTRY_KEY_FILE")}
	config, err := files.Load()
	if err != nil {
		return nil, fail.Usagef("", "PULSE_REGISTRY_CA_FILE, PULSE_REGISTRY_CERT_FILE, PULSE_REGISTRY_KEY_FILE: %v", err)
	}
	return config, nil
}

// failed is an error of a registry as a command's.
func failed(message string, err error) error {
	f := &fail.Error{Kind: fail.General, Message: message, Cause: err}
	if refused, ok := errors.AsType[*registry.IncompatibleError](err); ok {
		f.Hint = "prove it with pulsectl contract check, and pass --compatibility none; or change " + refused.File
	}
	if answer, ok := errors.AsType[*registry.Error](err); ok {
		if answer.Status >= http.StatusInternalServerError {
			f.Kind = fail.Unreachable
		}
	} else if errors.Is(err, registry.ErrUnreachable) {
		f.Kind = fail.Unreachable
	}
	return f
}

var pushedColumns = []console.Column[registry.Pushed]{
	{Key: "file", Value: func(p registry.Pushed) any { return p.File }, ID: true},
	{Key: "subject", Value: func(p registry.Pushed) any { return p.Subject }},
	{Key: "version", Value: func(p registry.Pushed) any { return p.Version }},
	{Key: "new", Value: func(p registry.Pushed) any { return p.New }},
}

func push(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "push", Usage: "add the contracts that a schema registry does not have yet",
		Description: "Version N of a contract is version N of its subject. What is in the registry has to be the same;\n" +
			"nothing is written if something is not. Users, passwords and tokens come from PULSE_REGISTRY_USER,\n" +
			"PULSE_REGISTRY_PASSWORD and PULSE_REGISTRY_TOKEN, or files that these with _FILE name.",
		Flags: append(registryFlags(), env.DryRunFlag(),
			&cli.StringFlag{Name: "compatibility", Usage: "set the registry's `LEVEL` for the subjects that get new versions: none, backward, forward, full and the like (default: leave it)"}),
		Action: func(ctx *cli.Context) error {
			c, err := client(ctx, e)
			if err != nil {
				return err
			}
			_, files, err := open(ctx)
			if err != nil {
				return err
			}
			pushed, err := c.Push(ctx.Context, files, registry.PushOptions{DryRun: ctx.Bool("dry-run"), Compatibility: ctx.String("compatibility")})
			if len(pushed) > 0 || err == nil {
				if err := console.RenderList(e.IO, console.List[registry.Pushed]{Columns: pushedColumns, Items: pushed}); err != nil {
					return err
				}
			}
			if err != nil {
				return failed("cannot push the contracts", err)
			}
			return nil
		},
	}
}

// pulled is a file of the registry, and how it is in the directory.
type pulled struct{ file, state string }

var pulledColumns = []console.Column[pulled]{
	{Key: "file", Value: func(p pulled) any { return p.file }, ID: true},
	{Key: "state", Value: func(p pulled) any { return p.state }},
}

func pull(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "pull", Usage: "write the contracts of a schema registry to a directory",
		Description: "All versions of the contracts that are named, and what they refer to; without names those of all\n" +
			"subjects with the prefix and suffix. Nothing is written if they cannot be used, or, without --force,\n" +
			"if a file would change. Files that the registry does not have stay.",
		ArgsUsage: "[NAME...]",
		Flags:     append(registryFlags(), env.DryRunFlag(), &cli.BoolFlag{Name: "force", Usage: "replace files that differ"}),
		Action: func(ctx *cli.Context) error {
			c, err := client(ctx, e)
			if err != nil {
				return err
			}
			files, err := c.Pull(ctx.Context, ctx.Args().Slice()...)
			if err != nil {
				return failed("cannot pull the contracts", err)
			}
			if _, err := wirecontract.Load(files, wirecontract.Config{}); err != nil {
				return &fail.Error{Kind: fail.General, Message: "the registry's contracts cannot be used", Cause: err}
			}
			dir := ctx.String("dir")
			list, differ, err := against(dir, files)
			if err != nil {
				return fail.Wrap("cannot compare with "+dir, err)
			}
			if err := console.RenderList(e.IO, console.List[pulled]{Columns: pulledColumns, Items: list}); err != nil {
				return err
			}
			if ctx.Bool("dry-run") {
				return nil
			}
			if differ > 0 && !ctx.Bool("force") {
				return fail.New(fail.General, "look at them, then pass --force to replace them", "files in %s differ from the registry: %d; nothing was written", dir, differ)
			}
			for _, p := range list {
				if p.state == same {
					continue
				}
				if err := write(dir, p.file, files); err != nil {
					return fail.Wrap("cannot write "+p.file, err)
				}
			}
			return nil
		},
	}
}

// The states of a file that is pulled.
const (
	fresh   = "new"
	same    = "same"
	differs = "differs"
)

// against compares the registry's files with those of a directory.
func against(dir string, files fs.FS) (list []pulled, differ int, err error) {
	err = fs.WalkDir(files, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		theirs, err := fs.ReadFile(files, file)
		if err != nil {
			return err
		}
		local, err := filepath.Localize(file) // a name of the registry's stays in dir, on Windows too
		if err != nil {
			return fail.Wrap("cannot write "+file, err)
		}
		ours, err := os.ReadFile(filepath.Join(dir, local))
		state := differs
		switch {
		case errors.Is(err, fs.ErrNotExist):
			state = fresh
		case err != nil:
			return err
		case registry.Same(ours, theirs):
			state = same
		default:
			differ++
		}
		list = append(list, pulled{file, state})
		return nil
	})
	return list, differ, err
}

// write writes a file of the registry as a whole.
func write(dir, file string, files fs.FS) error {
	text, err := fs.ReadFile(files, file)
	if err != nil {
		return err
	}
	local, err := filepath.Localize(file)
	if err != nil {
		return err
	}
	to := filepath.Join(dir, local)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	part := to + ".part"
	if err := os.WriteFile(part, text, 0o644); err != nil {
		_ = os.Remove(part)
		return err
	}
	return os.Rename(part, to)
}
