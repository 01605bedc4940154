// Package verify implements the command verify: it selects what package
// reconcile compares, and shows the result.
package verify

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

const (
	// inboxMemory is the default retention of an inbox.
	inboxMemory = 30 * 24 * time.Hour
	// The tables of the example services, compared by default where they exist.
	defaultTopic   = "order.created"
	defaultOrders  = "orders.event_id"
	defaultEffects = "notifications.event_id"
	// shownIDs is how many ids of a finding are printed for a person.
	shownIDs = 10
)

// Options select what is compared.
type Options struct {
	topics                          []string
	ordersTable, effectsTable       string
	effectsPerEvent                 int
	ids                             string // file with a client's list; -: stdin
	outboxRetention, inboxRetention time.Duration
	only                            []reconcile.Kind // empty: all
	otherProducers, assumeNotHeld   bool
	ignoreBodies                    bool
	skipDeadLetters                 bool
	timeout                         time.Duration
}

// Defaults returns the options of verify without flags.
func Defaults() Options {
	return Options{topics: []string{defaultTopic}, effectsPerEvent: 1, outboxRetention: outbox.DefaultRetention, inboxRetention: inboxMemory}
}

// Command returns the command verify.
func Command(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "prove that nothing was lost or duplicated: reconcile orders, outbox, broker, inbox and effects; exit 1 otherwise",
		Flags: []cli.Flag{
			env.TimeoutFlag(time.Minute),
			&cli.StringSliceFlag{Name: "topic", Value: cli.NewStringSlice(defaultTopic), Usage: "compare the events of this `TOPIC`; several separated by commas"},
			&cli.StringFlag{Name: "orders-table", Usage: "`TABLE.COLUMN` in the outbox's database that holds event ids, such as orders.event_id; none: do not compare (default: orders.event_id, if it is there)"},
			&cli.StringFlag{Name: "effects-table", Usage: "`TABLE.COLUMN` in the inbox's database that holds event ids, such as notifications.event_id; none: do not compare (default: notifications.event_id, if it is there)"},
			&cli.IntFlag{Name: "effects-per-event", Value: 1, Usage: "each applied event has `N` rows in the effects' table; 0: one or more"},
			&cli.StringFlag{Name: "ids", Usage: "`FILE` with the event or order ids that a client got as answers, one per line; -: stdin"},
			&cli.StringFlag{Name: "only", Usage: "list only findings of these comma-separated `KINDS`: " + kindNames()},
			&cli.DurationFlag{Name: "inbox-retention", Value: inboxMemory, Usage: "ignore events published more than `DURATION` ago: the inbox has forgotten them"},
			&cli.DurationFlag{Name: "outbox-retention", Value: outbox.DefaultRetention, Usage: "expect published rows in the outbox for `DURATION`: later they are purged"},
			&cli.BoolFlag{Name: "other-producers", Usage: "other producers write to these topics: events that are not in the outbox are not foreign"},
			&cli.BoolFlag{Name: "ignore-bodies", Usage: "do not compare bodies: the consumer changes them before it applies them"},
			&cli.BoolFlag{Name: "assume-not-held", Usage: "assume that only consumers that report it hold unacknowledged messages"},
			&cli.BoolFlag{Name: "skip-dead-letters", Usage: "do not read the dead-letter queue: events that may be there stay unsettled"},
		},
		Action: func(ctx *cli.Context) error {
			o, err := parseVerifyOptions(ctx)
			if err != nil {
				return err
			}
			return o.run(ctx.Context, e)
		},
	}
}

func kindNames() string {
	var names []string
	for _, k := range reconcile.Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

func parseVerifyOptions(ctx *cli.Context) (Options, error) {
	o := Options{
		ordersTable: ctx.String("orders-table"), effectsTable: ctx.String("effects-table"),
		effectsPerEvent: ctx.Int("effects-per-event"), ids: ctx.String("ids"),
		outboxRetention: ctx.Duration("outbox-retention"), inboxRetention: ctx.Duration("inbox-retention"),
		otherProducers: ctx.Bool("other-producers"), assumeNotHeld: ctx.Bool("assume-not-held"),
		ignoreBodies:    ctx.Bool("ignore-bodies"),
		skipDeadLetters: ctx.Bool("skip-dead-letters"), timeout: ctx.Duration("timeout"),
	}
	for _, d := range []string{"inbox-retention", "outbox-retention"} {
		if ctx.Duration(d) <= 0 {
			return o, fail.Usagef("", "--%s: %s is not positive", d, ctx.Duration(d))
		}
	}
	if o.effectsPerEvent < 0 {
		return o, fail.Usagef("", "--effects-per-event: %d is negative", o.effectsPerEvent)
	}
	for _, given := range ctx.StringSlice("topic") {
		for topic := range strings.SplitSeq(given, ",") {
			if topic = strings.TrimSpace(topic); topic == "" {
				return o, fail.Usagef("", "--topic: is empty")
			}
			if !slices.Contains(o.topics, topic) {
				o.topics = append(o.topics, topic)
			}
		}
	}
	for _, table := range []struct{ flag, value string }{{"orders-table", o.ordersTable}, {"effects-table", o.effectsTable}} {
		if table.value == "" || table.value == "none" {
			continue
		}
		if _, err := reconcile.ParseColumn(table.value); err != nil {
			return o, fail.Usagef("for example: --"+table.flag+" "+defaultOrders, "--%s: %v", table.flag, err)
		}
	}
	if ctx.String("only") == "" {
		return o, nil
	}
	for word := range strings.SplitSeq(ctx.String("only"), ",") {
		kind := reconcile.Kind(strings.TrimSpace(word))
		if !slices.Contains(reconcile.Kinds(), kind) {
			return o, fail.Usagef("have: "+kindNames(), "--only: unknown kind %q", word)
		}
		o.only = append(o.only, kind)
	}
	return o, nil
}

func (o Options) run(ctx context.Context, e *env.Env) error {
	l, err := OpenComparison(ctx, e, o)
	if err != nil {
		return err
	}
	if o.ids != "" {
		list, err := e.IDList(o.ids)
		if err != nil {
			return err
		}
		defer list.Close()
		l.Acknowledged = env.EachID(list)
	}
	var r *reconcile.Report
	err = e.IO.Wait(ctx, l.Progress.Line, func(io.Writer) (err error) {
		r, err = l.Verify(ctx, o.timeout)
		return err
	})
	if r != nil {
		defer r.Close()
	}
	switch {
	case ctx.Err() != nil:
		return interruptedVerify(l.Progress, r)
	case err != nil:
		return explainVerify(ctx, e, l, err)
	}
	if err := renderReport(e, r, o.only); err != nil {
		return err
	}
	return verdictError(r, o.timeout)
}

// OpenComparison opens the databases and queues that are compared.
func OpenComparison(ctx context.Context, e *env.Env, o Options) (l reconcile.Comparison, err error) {
	_, outDB, err := e.Outbox(ctx)
	if err != nil {
		return l, err
	}
	in, inDB, err := e.Inbox(ctx)
	if err != nil {
		return l, err
	}
	broker, err := e.QueuesOf(ctx, in)
	if err != nil {
		return l, err
	}
	broker.Skip = o.skipDeadLetters
	l = reconcile.Comparison{
		OutboxDB: outDB, InboxDB: inDB, Broker: broker, Queue: broker.Source.Queue, Consumer: e.Flags.Consumer, Topics: o.topics,
		EffectsPerEvent: o.effectsPerEvent, OutboxRetention: o.outboxRetention, InboxRetention: o.inboxRetention,
		OtherProducers: o.otherProducers, IgnoreBodies: o.ignoreBodies, AssumeNotHeld: o.assumeNotHeld, Progress: new(reconcile.Progress),
	}
	// The default tables are compared only for the default topic.
	ordersDefault, effectsDefault := defaultOrders, defaultEffects
	if !slices.Equal(o.topics, []string{defaultTopic}) {
		ordersDefault, effectsDefault = "", ""
	}
	if l.Orders, err = reconcile.FindColumn(ctx, outDB, "--orders-table", o.ordersTable, ordersDefault); err != nil {
		return l, explainVerify(ctx, e, l, err)
	}
	if l.Effects, err = reconcile.FindColumn(ctx, inDB, "--effects-table", o.effectsTable, effectsDefault); err != nil {
		return l, explainVerify(ctx, e, l, err)
	}
	return l, nil
}
