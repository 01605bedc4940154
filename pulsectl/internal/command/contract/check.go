package contract

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	wirecontract "github.com/asimalizada/pulse-events/outbox/wire/contract"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/contracts"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/pending"
)

func check(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "compare the contracts with a git revision, or with the messages that still wait: exit 1 if something would break",
		Description: "A version that exists already may change in no way that anybody would notice; a new version has\n" +
			"to be compatible with the one before it. With --pending it reads what waits in outbox, queues,\n" +
			"retry queues and dead letters instead, and lists the messages that consumers with these contracts\n" +
			"would dead-letter. Nothing is changed or consumed.",
		Flags: append(append([]cli.Flag{dirFlag(),
			&cli.StringFlag{Name: "against", Value: "HEAD", Usage: "git `REVISION` to compare with, such as origin/main"}}, compareFlags()...),
			&cli.BoolFlag{Name: "transitive", Usage: "compare a new version with all versions before it"},
			&cli.StringSliceFlag{Name: "accept", Usage: "`CONTRACT` whose refusals are accepted, such as order.created/2, for which consumers have an upcaster; may be repeated"},
			&cli.BoolFlag{Name: "pending", Usage: "check the messages that wait, with the servers that are given"}),
		Action: func(ctx *cli.Context) error {
			mode, o, err := comparison(ctx)
			if err != nil {
				return err
			}
			files, set, err := load(ctx)
			if err != nil {
				return err
			}
			if ctx.Bool("pending") {
				return waiting(ctx.Context, e, set)
			}
			before, err := contracts.At(ctx.Context, ctx.String("dir"), ctx.String("against"))
			if err != nil {
				return fail.Wrap("cannot read the contracts of "+ctx.String("against"), err)
			}
			if before == nil {
				e.IO.Notef("%s has no contracts there", ctx.String("against"))
				before = none{}
			}
			result, err := contracts.Check(before, files, contracts.Options{Options: o, Mode: mode, Transitive: ctx.Bool("transitive"), Accept: ctx.StringSlice("accept")})
			if err != nil {
				return fail.Wrap("cannot compare the contracts", err)
			}
			return report(e, result)
		},
	}
}

// none is a directory without files.
type none struct{}

func (none) Open(string) (fs.File, error)          { return nil, fs.ErrNotExist }
func (none) ReadDir(string) ([]fs.DirEntry, error) { return nil, nil }
func (none) Stat(name string) (fs.FileInfo, error) { return os.Stat(os.DevNull) }

var brokenColumns = []console.Column[pending.Broken]{
	{Key: "id", Value: func(b pending.Broken) any { return b.ID }, ID: true},
	{Key: "place", Value: func(b pending.Broken) any { return b.Place }},
	{Key: "state", Value: func(b pending.Broken) any { return b.State }},
	{Key: "type", Value: func(b pending.Broken) any { return b.Type }, Keep: -1},
	{Key: "topic", Value: func(b pending.Broken) any { return b.Topic }, Wide: true},
	{Key: "version", Value: func(b pending.Broken) any { return b.Version }},
	{Key: "problem", Value: func(b pending.Broken) any { return b.Problem }, Wrap: true},
}

// waiting lists the waiting messages that break the contracts.
func waiting(ctx context.Context, e *env.Env, set *wirecontract.Set) error {
	given, err := e.Given()
	if err != nil {
		return err
	}
	if !given.Outbox && !given.Broker {
		return e.AnyGiven()
	}
	var p pending.Report
	check := func(ctx context.Context, msg inbox.Message) error {
		return inbox.ConsumerConfig{Contracts: set.Consumer()}.Check(ctx, nil, msg)
	}
	if given.Outbox {
		ob, _, err := e.Outbox(ctx)
		if err != nil {
			return err
		}
		if err := p.Outbox(ctx, ob, check); err != nil {
			return fail.Wrap("cannot read the outbox", err)
		}
	}
	if given.Broker {
		if err := pendingQueues(ctx, e, &p, check); err != nil {
			return err
		}
	}
	p.Done()
	for _, place := range p.NotLooked {
		e.IO.Notef("not looked into: %s", place)
	}
	if err := console.RenderList(e.IO, console.List[pending.Broken]{Columns: brokenColumns, Items: p.Broken}); err != nil {
		return err
	}
	e.IO.Notef("%d messages wait, %d of them would break", p.Looked, p.Breaks)
	switch {
	case p.Breaks > 0:
		return &fail.Error{Kind: fail.General, Silent: true, Message: fmt.Sprintf("%d waiting messages would break", p.Breaks)}
	case len(p.NotLooked) > 0:
		return fail.New(fail.Partial, "", "not everything could be looked at: %s", strings.Join(p.NotLooked, "; "))
	}
	return nil
}

func pendingQueues(ctx context.Context, e *env.Env, p *pending.Report, check pending.Check) error {
	q, err := e.ConsumerQueues(ctx)
	if err != nil {
		return err
	}
	i, err := inboxrabbit.OpenInspector(ctx, q.Source)
	if err != nil {
		return fail.CannotReach("broker", err)
	}
	defer i.Close()
	if err := p.Queues(ctx, i, q.Names(), check); err != nil {
		return fail.Wrap("cannot look into the queues", err)
	}
	return nil
}
