// Package queues inspects the queues of a consumer: over AMQP, and with
// RabbitMQ's management API if it is available.
package queues

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

// inspectTimeout limits one inspection of the queues.
const inspectTimeout = 10 * time.Second

// letterTimeout limits the wait for the next dead letter; the inspector's own
// is shorter.
const letterTimeout = 30 * time.Second

// Reader inspects the queues of one consumer, over a new connection each time:
// a command that waits must survive the broker's outages.
type Reader struct {
	Source     inboxrabbit.SourceConfig
	Management *Management // nil: not available
	NoLadder   bool        // the consumer has no retry queues
	Skip       bool        // do not read the dead letters
}

// Inspect calls look with a new connection.
func (q Reader) Inspect(ctx context.Context, look func(context.Context, *inboxrabbit.Inspector) error) error {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	i, err := inboxrabbit.OpenInspector(ctx, q.Source)
	if err != nil {
		return fail.CannotReach("broker", err)
	}
	defer i.Close()
	if err := look(ctx, i); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fail.New(fail.Unreachable, "", "the broker did not answer within %s", inspectTimeout)
		}
		return err
	}
	return nil
}

// Depths counts the messages in each kind of queue.
func (q Reader) Depths(ctx context.Context) (d inboxrabbit.Depths, err error) {
	err = q.Inspect(ctx, func(ctx context.Context, i *inboxrabbit.Inspector) error {
		d, err = i.Depths(ctx)
		return err
	})
	if q.NoLadder {
		d.Missing = slices.DeleteFunc(d.Missing, func(name string) bool { return name != q.Source.Queue })
	}
	return d, err
}

// Look implements reconcile.Broker.
func (q Reader) Look(ctx context.Context) (seen reconcile.Queues, err error) {
	d, err := q.Depths(ctx)
	if err != nil {
		return seen, err
	}
	seen = reconcile.Queues{
		Ready: d.Ready, Retrying: d.Retrying, DeadLettered: d.DeadLettered, Missing: d.Missing, Unacked: -1, Holders: d.Holders,
	}
	if q.Management != nil {
		seen.UnackedLag = managementLag
		seen.Unacked, err = q.Management.unacked(ctx, q.names())
	}
	return seen, err
}

// CountsHolders implements reconcile.Broker.
func (q Reader) CountsHolders(ctx context.Context) (counts bool, err error) {
	err = q.Inspect(ctx, func(ctx context.Context, i *inboxrabbit.Inspector) error {
		counts, err = i.CountsHolders(ctx)
		return err
	})
	return counts, err
}

// Names returns the names of the consumer's queues.
func (q Reader) Names() inboxrabbit.Names {
	return inboxrabbit.QueueNames(q.Source.Queue, q.Source.RetryDelays)
}

// names returns the queues of the consumer.
func (q Reader) names() map[string]bool {
	names := q.Names()
	all := map[string]bool{names.Queue: true, names.DeadLetters: true}
	for _, retry := range names.Retry {
		all[retry.Queue] = true
	}
	return all
}

// DeadLetters implements reconcile.Broker.
func (q Reader) DeadLetters(ctx context.Context, each func(reconcile.DeadLetter) error) error {
	if q.Skip {
		return reconcile.ErrNotRead
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := fail.New(fail.Unreachable, "", "the broker sent no dead letter for %s", letterTimeout)
	watch := time.AfterFunc(letterTimeout, func() { cancel(slow) })
	defer watch.Stop()
	i, err := inboxrabbit.OpenInspector(ctx, q.Source)
	if err != nil {
		return fail.CannotReach("broker", err)
	}
	defer i.Close()
	err = i.DeadLetters(ctx, func(d inboxrabbit.DeadLetter) error {
		watch.Reset(letterTimeout)
		return each(reconcile.DeadLetter{ID: d.ID, Consumer: d.Consumer, Reason: d.Reason, Body: d.Body})
	})
	var incomplete *inboxrabbit.IncompleteError
	switch {
	case err != nil && errors.Is(context.Cause(ctx), slow):
		return slow
	case errors.Is(err, inboxrabbit.ErrInUse), errors.As(err, &incomplete):
		return fmt.Errorf("%w: %w", reconcile.ErrNotRead, err) // messages that another client holds are no evidence
	}
	return err
}

// Existing returns those of the candidates that are queues, or all queues if
// the management API lists them.
func (q Reader) Existing(ctx context.Context, candidates []string) (names []string) {
	if q.Management != nil {
		if all, err := q.Management.queues(ctx); err == nil {
			for _, queue := range all {
				if !strings.Contains(queue.Name, ".retry.") && !strings.HasSuffix(queue.Name, ".dlq") {
					names = append(names, queue.Name)
				}
			}
			return names
		}
	}
	const enough = 20
	for _, name := range candidates[:min(len(candidates), enough)] {
		other := q
		other.Source.Queue = name
		if d, err := other.Depths(ctx); err == nil && !slices.Contains(d.Missing, name) {
			names = append(names, name)
		}
	}
	return names
}
