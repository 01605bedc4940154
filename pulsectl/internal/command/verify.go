package command

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

const (
	// inboxMemory is how long an inbox remembers unless told otherwise.
	inboxMemory = 30 * 24 * time.Hour
	// The tables of the example services, which are compared where they are.
	defaultTopic   = "order.created"
	defaultOrders  = "orders.event_id"
	defaultEffects = "notifications.event_id"
	// shownIDs is how many ids of a finding are shown to a person.
	shownIDs = 10
)

type verifyOptions struct {
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

func verifyCommand(env *Env) *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "prove that nothing was lost or doubled: reconcile orders, outbox, broker, inbox and effects; exit 1 otherwise",
		Flags: []cli.Flag{
			timeoutFlag(time.Minute),
			&cli.StringSliceFlag{Name: "topic", Value: cli.NewStringSlice(defaultTopic), Usage: "compare the events of this `TOPIC`; several with commas"},
			&cli.StringFlag{Name: "orders-table", Usage: "`TABLE.COLUMN` beside the outbox with the ids of events, such as orders.event_id; none: compare no such table (default: orders.event_id, if it is there)"},
			&cli.StringFlag{Name: "effects-table", Usage: "`TABLE.COLUMN` beside the inbox with the ids of events, such as notifications.event_id; none: compare no such table (default: notifications.event_id, if it is there)"},
			&cli.IntFlag{Name: "effects-per-event", Value: 1, Usage: "each applied event has `N` rows in the effects' table; 0: one or more"},
			&cli.StringFlag{Name: "ids", Usage: "`FILE` with ids of events or orders that a client was told of, one a line; -: stdin"},
			&cli.StringFlag{Name: "only", Usage: "list only findings of these `KINDS`, with commas: " + kindNames()},
			&cli.DurationFlag{Name: "inbox-retention", Value: inboxMemory, Usage: "what was published more than `DURATION` ago is not judged: the inbox has forgotten it"},
			&cli.DurationFlag{Name: "outbox-retention", Value: outbox.DefaultRetention, Usage: "published rows are missed in the outbox for `DURATION`: later they are purged"},
			&cli.BoolFlag{Name: "other-producers", Usage: "other producers write to these topics: what is in no outbox row is not foreign"},
			&cli.BoolFlag{Name: "ignore-bodies", Usage: "the consumer reads bodies otherwise than they are published: what it applied is not held against the outbox's"},
			&cli.BoolFlag{Name: "assume-not-held", Usage: "take it that nobody holds messages unacknowledged but consumers that say so"},
			&cli.BoolFlag{Name: "skip-dead-letters", Usage: "do not look into the dead-letter queue: what may lie there stays unsettled"},
		},
		Action: func(ctx *cli.Context) error {
			o, err := parseVerifyOptions(ctx)
			if err != nil {
				return err
			}
			return env.verify(ctx.Context, o)
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

func parseVerifyOptions(ctx *cli.Context) (verifyOptions, error) {
	o := verifyOptions{
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

func (e *Env) verify(ctx context.Context, o verifyOptions) error {
	l, err := e.ledger(ctx, o)
	if err != nil {
		return err
	}
	if o.ids != "" {
		list, err := e.idList(o.ids)
		if err != nil {
			return err
		}
		defer list.Close()
		l.Acknowledged = eachID(list)
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
		return e.explainVerify(ctx, l, err)
	}
	if err := e.renderReport(r, o.only); err != nil {
		return err
	}
	return verdictError(r, o.timeout)
}

// ledger opens everything that is compared.
func (e *Env) ledger(ctx context.Context, o verifyOptions) (l reconcile.Ledger, err error) {
	_, outDB, err := e.Outbox(ctx)
	if err != nil {
		return l, err
	}
	in, inDB, err := e.Inbox(ctx)
	if err != nil {
		return l, err
	}
	broker, err := e.queuesOf(ctx, in)
	if err != nil {
		return l, err
	}
	broker.skip = o.skipDeadLetters
	l = reconcile.Ledger{
		OutboxDB: outDB, InboxDB: inDB, Broker: broker, Queue: broker.source.Queue, Consumer: e.flags.consumer, Topics: o.topics,
		EffectsPerEvent: o.effectsPerEvent, OutboxRetention: o.outboxRetention, InboxRetention: o.inboxRetention,
		OtherProducers: o.otherProducers, IgnoreBodies: o.ignoreBodies, AssumeNotHeld: o.assumeNotHeld, Progress: new(reconcile.Progress),
	}
	// The tables of the examples belong to their topic.
	ordersDefault, effectsDefault := defaultOrders, defaultEffects
	if !slices.Equal(o.topics, []string{defaultTopic}) {
		ordersDefault, effectsDefault = "", ""
	}
	if l.Orders, err = reconcile.FindColumn(ctx, outDB, "--orders-table", o.ordersTable, ordersDefault); err != nil {
		return l, e.explainVerify(ctx, l, err)
	}
	if l.Effects, err = reconcile.FindColumn(ctx, inDB, "--effects-table", o.effectsTable, effectsDefault); err != nil {
		return l, e.explainVerify(ctx, l, err)
	}
	return l, nil
}

// queuesOf are the queues that the consumer itself says it reads, where it runs
// and nobody has said otherwise.
func (e *Env) queuesOf(ctx context.Context, in *inbox.Inbox) (queues, error) {
	q, err := e.queues()
	if err != nil {
		return q, err
	}
	instances, err := in.Instances(ctx)
	switch {
	case errors.Is(err, inbox.ErrSchema):
		return q, nil // of a version that keeps no account of them, or none at all
	case err != nil:
		return q, fail.Wrap("cannot read the inbox", err)
	}
	var theirs []string
	for _, i := range instances {
		if i.Live && i.Queue != "" && !slices.Contains(theirs, i.Queue) {
			theirs = append(theirs, i.Queue)
		}
	}
	if len(theirs) > 0 && !slices.Contains(theirs, q.source.Queue) {
		if e.flags.queueGiven || len(theirs) > 1 {
			return q, fail.New(fail.NotFound, "give the queue with --queue: "+strings.Join(theirs, ", "),
				"consumer %q does not read queue %q: it reads %s", e.flags.consumer, q.source.Queue, strings.Join(theirs, ", "))
		}
		q.source.Queue = theirs[0]
	}
	if e.flags.retryDelays == "" {
		for _, i := range instances {
			if i.Queue == q.source.Queue && len(i.RetryDelays) > 0 {
				q.source.RetryDelays = i.RetryDelays
			}
		}
	}
	return q, nil
}
