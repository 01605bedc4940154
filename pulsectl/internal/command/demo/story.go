package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/messages"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/verify"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// storyPatience limits each wait of the story.
const storyPatience = 30 * time.Second

// story is the demo's tour over a running stack.
type story struct {
	env      *env.Env
	out      *console.IO
	state    stack.State
	n        int // orders in each half
	chapters int
	told     told
}

func (st *story) play(ctx context.Context) error {
	for _, chapter := range []func(context.Context) error{st.open, st.calm, st.outage, st.recovery, st.echo, st.books} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (st *story) open(ctx context.Context) error {
	st.chapter(ctx, "Real services, in this process.")
	st.fact("orders service", st.state.OrdersURL+"  SQLite")
	st.fact("notifications service", st.state.NotificationsURL+"  SQLite")
	authentication := "off, for this demo alone"
	if st.state.APIToken != "" {
		authentication = "on, by a token of this demo's own"
	}
	st.fact("authentication", authentication)
	st.fact("broker", brokerAddress(st.state.AMQPURL)+"  AMQP 0-9-1, on disk")
	return nil
}

// brokerAddress returns a broker's URL without the user.
func brokerAddress(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "?"
	}
	return u.Scheme + "://" + u.Host
}

func (st *story) calm(ctx context.Context) error {
	st.chapter(ctx, "Customers place orders.")
	if err := st.placeOrders(ctx); err != nil {
		return err
	}
	return st.awaitApplied(ctx, st.n)
}

func (st *story) outage(ctx context.Context) error {
	st.chapter(ctx, "The broker goes down. Orders are still accepted.")
	if err := st.broker().Inject(ctx, control.Fault{Kind: devbroker.FaultDown}); err != nil {
		return fail.Wrap("cannot stop the broker", err)
	}
	if err := st.placeOrders(ctx); err != nil {
		return err
	}
	st.told.duringOutage = st.n
	ob, _, err := st.env.Outbox(ctx)
	if err != nil {
		return err
	}
	pending, _, err := ob.Count(ctx, outbox.ListQuery{Statuses: []outbox.Status{outbox.Pending}}, overview.CountBound)
	if err != nil {
		return fail.Wrap("cannot count the outbox", err)
	}
	retrying, _, err := ob.Count(ctx, outbox.ListQuery{Retrying: true}, overview.CountBound)
	if err != nil {
		return fail.Wrap("cannot count the outbox", err)
	}
	st.told.pendingDuringOutage = pending
	st.fact("outbox", fmt.Sprintf("%s pending, %d with failed attempts", st.out.Paint(console.Warn, fmt.Sprint(pending)), retrying))
	return nil
}

func (st *story) recovery(ctx context.Context) error {
	st.chapter(ctx, "The broker is back. Nothing has to be restarted.")
	if err := st.broker().Clear(ctx, devbroker.FaultDown); err != nil {
		return fail.Wrap("cannot start the broker", err)
	}
	return st.awaitApplied(ctx, 2*st.n)
}

// echo replays every event, and has the broker deliver every copy twice.
func (st *story) echo(ctx context.Context) error {
	st.chapter(ctx, "Every event is replayed, and the broker delivers each copy twice.")
	events, err := st.events(ctx)
	if err != nil {
		return err
	}
	before, err := st.duplicates(ctx)
	if err != nil {
		return err
	}
	if err := st.broker().Inject(ctx, control.Fault{Kind: devbroker.FaultDuplicateDeliveries, Count: len(events)}); err != nil {
		return fail.Wrap("cannot make the broker duplicate deliveries", err)
	}
	published, failures, err := messages.PublishCopies(ctx, st.env, events)
	if err := errors.Join(append(failures, err)...); err != nil {
		return fail.Wrap("cannot replay", err)
	}
	var skipped atomic.Int64
	told := func() string {
		return fmt.Sprintf("%d more deliveries, %d skipped as duplicates", 2*published, skipped.Load())
	}
	err = st.watch("inbox", told, func() error {
		return console.Poll(ctx, storyPatience, "the duplicates to be skipped", func(ctx context.Context) (string, error) {
			now, err := st.duplicates(ctx)
			if err != nil {
				return "", err
			}
			skipped.Store(int64(now - before))
			if now-before < 2*published {
				return fmt.Sprintf("%d of %d so far", now-before, 2*published), nil
			}
			return "", nil
		})
	})
	st.told.duplicatesSkipped = int(skipped.Load())
	st.told.redelivered = published + st.repeated(ctx, len(events))
	// An inbox that skips too few is reported by the comparison that follows.
	if f := new(fail.Error); errors.As(err, &f) && f.Kind == fail.Timeout {
		return nil
	}
	return err
}

// repeated returns how many deliveries the broker has duplicated: those
// requested minus those it still has to duplicate.
func (st *story) repeated(ctx context.Context, wanted int) int {
	faults, err := st.broker().Faults(ctx)
	if err != nil {
		return 0
	}
	for _, f := range faults {
		if f.Kind == devbroker.FaultDuplicateDeliveries {
			return wanted - f.Count
		}
	}
	return wanted
}

func (st *story) books(ctx context.Context) error {
	st.chapter(ctx, "Verify: orders, outbox, broker and inbox, event by event.")
	l, err := verify.OpenComparison(ctx, st.env, verify.Defaults())
	if err != nil {
		return err
	}
	r, err := l.Verify(ctx, storyPatience)
	if err != nil {
		return fail.Wrap("cannot compare", err)
	}
	defer r.Close()
	t := &st.told
	t.orders, t.published, t.applied, t.lost, t.duplicated = r.Orders, r.Published, r.Applied, r.Count(reconcile.Lost), r.Duplicated()
	switch {
	case !r.OK() || !r.Settled():
		t.verdict = r.Verdict()
	case t.orders != 2*st.n || t.pendingDuringOutage != t.duringOutage:
		t.verdict = "the outage was noticed"
	case t.duplicatesSkipped != t.redelivered:
		t.verdict = "duplicates were not skipped"
	default:
		t.verdict = verdictOK
	}
	return nil
}

func (st *story) broker() control.Client {
	return control.Client{URL: st.state.ControlURL, Token: st.state.ControlToken}
}

// placeOrders places n orders by HTTP, one after the other.
func (st *story) placeOrders(ctx context.Context) error {
	var placed atomic.Int64
	told := func() string {
		return fmt.Sprintf("%s accepted, order and outbox row in one transaction", st.out.Paint(console.Good, fmt.Sprint(placed.Load())))
	}
	return st.watch("POST /orders", told, func() error {
		for i := range st.n {
			o := messages.NewOrder{Customer: fmt.Sprintf("customer-%d", i+1), Amount: fmt.Sprintf("%d.5", 10+i)}
			if _, err := messages.PlaceOrder(ctx, st.env, o); err != nil {
				return err
			}
			placed.Add(1)
		}
		return nil
	})
}

// awaitApplied shows the progress of relay and inbox until n events are
// applied.
func (st *story) awaitApplied(ctx context.Context, n int) error {
	ob, _, err := st.env.Outbox(ctx)
	if err != nil {
		return err
	}
	in, _, err := st.env.Inbox(ctx)
	if err != nil {
		return err
	}
	var published, applied atomic.Int64
	told := func() string {
		return fmt.Sprintf("%d published and confirmed, %s notifications written", published.Load(), st.out.Paint(console.Good, fmt.Sprint(applied.Load())))
	}
	return st.watch("relay and inbox", told, func() error {
		return console.Poll(ctx, storyPatience, "the events to be applied", func(ctx context.Context) (string, error) {
			p, _, err := ob.Count(ctx, outbox.ListQuery{Statuses: []outbox.Status{outbox.Published}}, overview.CountBound)
			if err != nil {
				return "", err
			}
			a, err := in.Stats(ctx)
			if err != nil {
				return "", err
			}
			published.Store(int64(p))
			applied.Store(a.Applied.N)
			if p < n || a.Applied.N < int64(n) {
				return fmt.Sprintf("%d of %d published, %d applied", p, n, a.Applied.N), nil
			}
			return "", nil
		})
	})
}

// events returns all published messages.
func (st *story) events(ctx context.Context) (events []outbox.Message, err error) {
	ob, _, err := st.env.Outbox(ctx)
	if err != nil {
		return nil, err
	}
	q := outbox.ListQuery{Statuses: []outbox.Status{outbox.Published}, OldestFirst: true, Limit: outbox.MaxLimit}
	for {
		page, err := ob.List(ctx, q)
		if err != nil {
			return nil, fail.Wrap("cannot list the outbox", err)
		}
		for _, r := range page.Records {
			events = append(events, r.Message)
		}
		if q.After = page.Next; q.After == 0 {
			return events, nil
		}
	}
}

// duplicates returns how many deliveries the consumer has skipped, by its own
// count.
func (st *story) duplicates(ctx context.Context) (int, error) {
	a, err := st.env.API("notifications service", st.state.NotificationsURL)
	if err != nil {
		return 0, err
	}
	var health struct {
		Consumer struct {
			Duplicates int `json:"duplicates"`
		} `json:"consumer"`
	}
	err = a.Call(ctx, http.MethodGet, "/health/ready", nil, nil, &health)
	return health.Consumer.Duplicates, err
}
