package page

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

type workersData struct {
	Relays    section[outbox.RelayStatus]
	Instances section[inbox.InstanceStatus]
	Queues    section[queueRow]
	Served    int
	Consumer  string
}

// Buckets is the number of buckets of an outbox.
func (workersData) Buckets() int { return overview.Buckets }

// section is a table of the screen. Each is read for itself: one server that is
// away must not hide what others say.
type section[T any] struct {
	Rows    []T
	Problem *problem
}

// queueRow is a queue of the consumer.
type queueRow struct {
	Name, Purpose string
	Messages      int
	Consumers     string
	Missing       bool
}

func (h *Handler) workers(r *http.Request) (view, error) {
	v := view{template: "workers", title: "Relays and consumers"}
	if err := h.parameters(r).check(); err != nil {
		return v, err
	}
	d := workersData{}
	var reading sync.WaitGroup
	var errs [3]error
	reading.Go(func() { errs[0] = h.readRelays(r.Context(), &d) })
	reading.Go(func() { errs[1] = h.readInstances(r.Context(), &d) })
	reading.Go(func() { errs[2] = h.readQueues(r.Context(), &d) })
	reading.Wait()
	for i, p := range []**problem{&d.Relays.Problem, &d.Instances.Problem, &d.Queues.Problem} {
		if errs[i] != nil {
			*p, _ = h.explain(r, errs[i])
		}
	}
	v.data = d
	return v, nil
}

func (h *Handler) readRelays(ctx context.Context, d *workersData) error {
	ob, err := h.cfg.Servers.Outbox(ctx)
	if err != nil {
		return err
	}
	if d.Relays.Rows, err = ob.Relays(ctx); err != nil {
		return fail.Wrap("cannot list the relays", err)
	}
	_, d.Served = overview.LiveRelays(d.Relays.Rows)
	return nil
}

func (h *Handler) readInstances(ctx context.Context, d *workersData) error {
	in, err := h.cfg.Servers.Inbox(ctx)
	if err != nil {
		return err
	}
	d.Consumer = in.Consumer()
	d.Instances.Rows, err = in.Instances(ctx)
	return fail.Wrap("cannot list the instances", err)
}

func (h *Handler) readQueues(ctx context.Context, d *workersData) error {
	q, err := h.cfg.Servers.Queues(ctx)
	if err != nil {
		return err
	}
	seen, err := overview.ReadQueues(ctx, q)
	if err != nil {
		return err
	}
	missing := map[string]bool{}
	for _, name := range seen.Depths.Missing {
		missing[name] = true
	}
	d.Queues.Rows = append(d.Queues.Rows, queueRow{seen.Names.Queue, "ready to be consumed", seen.Depths.Ready, fmt.Sprint(seen.Depths.Consumers), missing[seen.Names.Queue]})
	if len(seen.Names.Retry) > 0 && !q.NoLadder {
		var delays []string
		for _, retry := range seen.Names.Retry {
			delays = append(delays, clip.Duration(retry.Delay))
		}
		d.Queues.Rows = append(d.Queues.Rows, queueRow{seen.Names.Queue + ".retry.*", "wait for a retry: " + strings.Join(delays, ", "), seen.Depths.Retrying, "", false})
	}
	d.Queues.Rows = append(d.Queues.Rows, queueRow{seen.Names.DeadLetters, "dead letters", seen.Depths.DeadLettered, "", missing[seen.Names.DeadLetters]})
	return nil
}
