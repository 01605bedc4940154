package messages

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/roles"
	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// step is one migration of one of the schemas.
type step struct {
	schema string
	outbox.Migration
}

var stepColumns = []console.Column[step]{
	{Key: "schema", Value: func(s step) any { return s.schema }},
	{Key: "version", Value: func(s step) any { return s.Version }},
	{Key: "name", Value: func(s step) any { return s.Name }},
	{Key: "applied", Value: func(s step) any { return !s.AppliedAt.IsZero() }},
	{Key: "appliedAt", Value: func(s step) any { return s.AppliedAt }},
}

func migrateCommand(e *env.Env) *cli.Command {
	only := &cli.StringFlag{Name: "only", Usage: "only this `SCHEMA`: outbox or inbox"}
	return &cli.Command{
		Name: "migrate", Usage: "create and upgrade the tables of outbox and inbox",
		Subcommands: []*cli.Command{
			{
				Name: "up", Usage: "apply the missing steps; nothing to do is success", Flags: []cli.Flag{only},
				Action: func(ctx *cli.Context) error { return migrateUp(ctx.Context, e, ctx.String("only")) },
			},
			{
				Name: "status", Usage: "list the steps; exit 6 if one is missing", Flags: []cli.Flag{only},
				Action: func(ctx *cli.Context) error { return migrateStatus(ctx.Context, e, ctx.String("only")) },
			},
			{
				Name: "print", Usage: "print the SQL for your own migration tool",
				Flags: []cli.Flag{
					only, &cli.StringFlag{Name: "dialect", Value: string(outbox.PostgreSQL), Usage: "`DIALECT` of the SQL"},
					&cli.BoolFlag{Name: "roles", Usage: "instead, PostgreSQL roles and RabbitMQ permissions with the least rights of producer, relay, consumer, operator and reader"},
					&cli.StringFlag{Name: "prefix", Value: "pulse", Usage: "roles: `NAME` that theirs begin with, such as pulse_relay"},
					&cli.StringFlag{Name: "schema", Value: "public", Usage: "roles: `NAME` of the schema with the tables"},
				},
				Action: func(ctx *cli.Context) error {
					if ctx.Bool("roles") {
						return printRoles(e, ctx.String("only"), roles.Names{Prefix: ctx.String("prefix"), Schema: ctx.String("schema")})
					}
					return PrintSchema(ctx.Context, e, ctx.String("only"), outbox.Dialect(ctx.String("dialect")))
				},
			},
		},
	}
}

// schema is one of the two schemas that can be migrated.
type schema struct {
	name   string
	up     func(context.Context) ([]outbox.Migration, error)
	status func(context.Context) ([]outbox.Migration, error)
}

// likeOutbox converts the inbox's migrations to the type that schema holds.
func likeOutbox(read func(context.Context) ([]inbox.Migration, error)) func(context.Context) ([]outbox.Migration, error) {
	return func(ctx context.Context) (steps []outbox.Migration, err error) {
		list, err := read(ctx)
		for _, m := range list {
			steps = append(steps, outbox.Migration(m))
		}
		return steps, err
	}
}

func checkOnly(only string) error {
	if only != "" && only != "outbox" && only != "inbox" {
		return fail.Usagef("have: outbox, inbox", "--only: unknown schema %q", only)
	}
	return nil
}

func schemas(ctx context.Context, e *env.Env, only string) ([]schema, error) {
	if err := checkOnly(only); err != nil {
		return nil, err
	}
	var out []schema
	if only != "inbox" {
		ob, _, err := e.Outbox(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, schema{"outbox", ob.Migrate, ob.Migrations})
	}
	if only != "outbox" {
		in, _, err := e.Inbox(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, schema{"inbox", likeOutbox(in.Migrate), likeOutbox(in.Migrations)})
	}
	return out, nil
}

func migrateUp(ctx context.Context, e *env.Env, only string) error {
	schemas, err := schemas(ctx, e, only)
	if err != nil {
		return err
	}
	var applied []step
	for _, s := range schemas {
		steps, err := s.up(ctx)
		if err != nil {
			return fail.Wrap("cannot migrate the "+s.name, err)
		}
		for _, m := range steps {
			m.AppliedAt = e.IO.Now()
			applied = append(applied, step{s.name, m})
		}
	}
	if len(applied) == 0 {
		e.IO.Notef("nothing to do: the schema is up to date")
	}
	return console.RenderList(e.IO, console.List[step]{Columns: stepColumns, Items: applied})
}

func migrateStatus(ctx context.Context, e *env.Env, only string) error {
	schemas, err := schemas(ctx, e, only)
	if err != nil {
		return err
	}
	var steps []step
	missing := 0
	for _, s := range schemas {
		list, err := s.status(ctx)
		if err != nil {
			return fail.Wrap("cannot read the state of the "+s.name, err)
		}
		for _, m := range list {
			if m.AppliedAt.IsZero() {
				missing++
			}
			steps = append(steps, step{s.name, m})
		}
	}
	if err := console.RenderList(e.IO, console.List[step]{Columns: stepColumns, Items: steps}); err != nil {
		return err
	}
	if missing > 0 {
		return fail.New(fail.Schema, "run: pulsectl migrate up", "%d of %d steps are missing", missing, len(steps))
	}
	return nil
}

// printRoles prints the statements that make the roles.
func printRoles(e *env.Env, only string, names roles.Names) error {
	if err := checkOnly(only); err != nil {
		return err
	}
	forOutbox, err := roles.Outbox(names)
	if err != nil {
		return fail.Usagef("for example: --prefix shop --schema public", "%v", err)
	}
	forInbox, err := roles.Inbox(names)
	if err != nil {
		return err
	}
	if only != "inbox" {
		e.IO.Println(forOutbox)
	}
	if only != "outbox" {
		e.IO.Println(forInbox)
	}
	if only == "" {
		e.IO.Println(roles.RabbitMQ(names, wire.Exchange, e.Flags.Queue))
	}
	return nil
}

// PrintSchema prints the SQL of the steps; only names one schema, or is empty.
func PrintSchema(ctx context.Context, e *env.Env, only string, dialect outbox.Dialect) error {
	if err := checkOnly(only); err != nil {
		return err
	}
	var steps []step
	schemas := []schema{
		{name: "outbox", status: func(context.Context) ([]outbox.Migration, error) { return outbox.Schema(dialect) }},
		{name: "inbox", status: likeOutbox(func(context.Context) ([]inbox.Migration, error) { return inbox.Schema(inbox.Dialect(dialect)) })},
	}
	for _, s := range schemas {
		if only != "" && only != s.name {
			continue
		}
		list, err := s.status(ctx)
		if err != nil {
			return fail.Usagef("", "--dialect: %v", err)
		}
		for _, m := range list {
			steps = append(steps, step{s.name, m})
		}
	}
	if f := e.IO.Resolved(); f == console.JSON || f == console.JSONL {
		columns := append(stepColumns[:3:3], console.Column[step]{Key: "sql", Value: func(s step) any { return s.SQL }})
		return console.RenderList(e.IO, console.List[step]{Columns: columns, Items: steps})
	}
	for _, s := range steps {
		e.IO.Println(fmt.Sprintf("-- %s, step %d: %s\n\n%s", s.schema, s.Version, strings.ReplaceAll(s.Name, "_", " "), strings.TrimSpace(s.SQL)))
		e.IO.Println("")
	}
	return nil
}
