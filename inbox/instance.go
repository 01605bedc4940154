package inbox

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// InstanceStatus is a running Consumer as recorded in its inbox's database.
// Each instance reports what it holds itself, as AMQP does not tell who holds
// which messages.
type InstanceStatus struct {
	Name        string          // of the instance: host, process and a random part
	Queue       string          // it reads; empty: not known
	RetryDelays []time.Duration // of the source's retry queues
	Subscribed  bool            // to the queue, as far as the source knows
	// Held is how many deliveries it held at SeenAt: received and not settled.
	Held       int
	OldestHeld time.Time // when it received the oldest of them; zero: none
	StartedAt  time.Time
	SeenAt     time.Time // of the report, which is up to a second older
	Live       bool      // false: its last report is too old
}

// SourceStatus is what a Source may report by a method Status() SourceStatus.
type SourceStatus struct {
	Queue       string
	RetryDelays []time.Duration
	Subscribed  bool // it has a subscription now
}

const (
	// reportInterval is how often an instance checks whether there is something
	// new to report, and reportTimeout how long writing a report may take: it must
	// not be older than that.
	reportInterval = time.Second
	reportTimeout  = time.Second
	// reportEvery is how often it reports when nothing has changed.
	reportEvery = 2 * time.Second
	// goneAfter is how long an instance counts as live without a report.
	goneAfter = 10 * time.Second
)

// Instances returns the instances of this consumer that have reported within
// the last day and were not shut down in order, by name. The error may be an
// ErrSchema.
func (in *Inbox) Instances(ctx context.Context) ([]InstanceStatus, error) {
	var rows []struct {
		Instance    string        `db:"instance"`
		Queue       string        `db:"queue"`
		RetryDelays string        `db:"retry_delays"`
		Subscribed  bool          `db:"subscribed"`
		Held        int           `db:"held"`
		OldestHeld  sqldb.Instant `db:"oldest_held_at"`
		StartedAt   sqldb.Instant `db:"started_at"`
		SeenAt      sqldb.Instant `db:"seen_at"`
		Live        bool          `db:"live"`
	}
	err := in.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Select(ctx, &rows, "instance_list", in.consumer, int64(goneAfter.Seconds()))
	})
	if err != nil {
		return nil, fmt.Errorf("inbox: instances: %w", in.store.Failed(err))
	}
	instances := make([]InstanceStatus, len(rows))
	for i, row := range rows {
		instances[i] = InstanceStatus{
			Name: row.Instance, Queue: row.Queue, Subscribed: row.Subscribed, Held: row.Held, OldestHeld: row.OldestHeld.Time,
			StartedAt: row.StartedAt.Time, SeenAt: row.SeenAt.Time, Live: row.Live,
		}
		var delays []int64
		if err := json.Unmarshal([]byte(row.RetryDelays), &delays); err != nil {
			return nil, fmt.Errorf("inbox: instances: retry delays of %s: %w", row.Instance, err)
		}
		for _, ms := range delays {
			instances[i].RetryDelays = append(instances[i].RetryDelays, time.Duration(ms)*time.Millisecond)
		}
	}
	return instances, nil
}

// countingSource counts the deliveries that a consumer has received and that are not
// settled, by the second they came in. It is the source of the settler, so that
// it sees every settlement that was carried out.
type countingSource struct {
	Source
	mu   sync.Mutex
	held map[int64]int // by second since started
	n    int
	zero time.Time
}

func newCountingSource(s Source) *countingSource {
	return &countingSource{Source: s, held: make(map[int64]int), zero: time.Now()}
}

// take counts a delivery.
func (h *countingSource) take(d Delivery) Delivery {
	second := int64(time.Since(h.zero) / time.Second)
	d.received = second
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[second]++
	h.n++
	return d
}

// Settle implements Source.
func (h *countingSource) Settle(ctx context.Context, settlements []Settlement) []error {
	outcomes := h.Source.Settle(ctx, settlements)
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, outcome := range outcomes {
		if !settled(outcome) {
			continue
		}
		second := settlements[i].Delivery.received
		if h.held[second]--; h.held[second] <= 0 {
			delete(h.held, second)
		}
		h.n--
	}
	return outcomes
}

// settled reports whether an outcome of Source.Settle says that the consumer does
// not hold the delivery any more.
func settled(outcome error) bool {
	_, elsewhere := errors.AsType[*DivertedError](outcome)
	return outcome == nil || elsewhere || errors.Is(outcome, ErrStale)
}

// count returns how many deliveries are held, and for how long the oldest is.
func (h *countingSource) count() (n int, oldest time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Since(h.zero)
	for second := range h.held {
		oldest = max(oldest, now-time.Duration(second)*time.Second)
	}
	return h.n, oldest
}

// reporter records in the database that a consumer runs and what it holds.
type reporter struct {
	in       *Inbox
	source   *countingSource
	instance string
	last     report
	lastAt   time.Time
}

type report struct {
	source SourceStatus
	held   int
}

func newReporter(in *Inbox, h *countingSource) *reporter {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &reporter{in: in, source: h, instance: fmt.Sprintf("%s-%d-%s", host, os.Getpid(), strings.ToLower(rand.Text()[:6]))}
}

// run reports until finished is closed, and then removes the instance from the
// list. A report that cannot be written is skipped: an instance without a recent
// report does not count as idle. problem is called with the first error that is
// not temporary.
func (r *reporter) run(ctx context.Context, finished <-chan struct{}, problem func(error)) {
	defer r.leave(ctx)
	tick := time.NewTicker(reportInterval)
	defer tick.Stop()
	for {
		switch err := r.report(ctx); sqldb.Judge(err) {
		case sqldb.Refused, sqldb.SchemaBehind, sqldb.BadStatement:
			if problem != nil {
				problem(err)
				problem = nil
			}
		}
		select {
		case <-tick.C:
		case <-finished:
			return
		}
	}
}

// report writes a report if something has changed or the last one is old.
func (r *reporter) report(ctx context.Context) error {
	now := report{source: SourceStatus{Subscribed: true}}
	if s, tells := r.source.Source.(interface{ Status() SourceStatus }); tells {
		now.source = s.Status()
	}
	held, oldest := r.source.count()
	now.held = held
	if held == 0 && r.last.held == 0 && now.source.Subscribed == r.last.source.Subscribed && time.Since(r.lastAt) < reportEvery {
		return nil
	}
	delays := make([]int64, len(now.source.RetryDelays))
	for i, d := range now.source.RetryDelays {
		delays[i] = d.Milliseconds()
	}
	text, err := json.Marshal(delays)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportTimeout)
	defer cancel()
	_, err = r.in.exec(ctx, "instance_report", r.in.consumer, r.instance,
		now.source.Queue, string(text), now.source.Subscribed, held, oldest.Milliseconds())
	if err == nil {
		r.last, r.lastAt = now, time.Now()
	}
	return err
}

func (r *reporter) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportTimeout)
	defer cancel()
	_, _ = r.in.exec(ctx, "instance_leave", r.in.consumer, r.instance) // otherwise it expires
}
