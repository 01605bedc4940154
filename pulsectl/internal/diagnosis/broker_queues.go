package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/rabbit/routing"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

// limiting are arguments that a source may be configured to set, and that are
// worth a word all the same.
var limiting = map[string]bool{
	"x-max-length": true, "x-max-length-bytes": true, "x-message-ttl": true, "x-expires": true, "x-delivery-limit": true,
	"durable": true, "auto_delete": true, "exclusive": true,
}

// arguments compares the queues with those that a source would declare.
func (l *brokerLook) arguments(ctx context.Context) {
	const check = "broker.queues"
	var reports []inboxrabbit.QueueReport
	err := l.Queues.Inspect(ctx, func(ctx context.Context, i *inboxrabbit.Inspector) (err error) {
		source := l.Queues.Source
		source.Exchange = l.o.Exchange
		reports, err = i.CompareQueues(ctx, source)
		return err
	})
	switch {
	case errors.Is(err, rabbit.ErrAccess):
		l.Unknown(check, "grant the user the configure permission on them", "the arguments of the queues cannot be compared without the configure permission")
		return
	case err != nil:
		l.unseen(check, err)
		return
	}
	kinds := map[string]bool{}
	for _, q := range reports {
		retries := strings.Contains(q.Queue.Name, ".retry.")
		if retries && l.Queues.NoLadder {
			continue
		}
		if q.Missing {
			hint := "start the consumer, which declares it, or create it: pulsectl broker topology --definitions"
			if retries {
				hint += "; if the consumer has others, pass --retry-delays"
			}
			l.fail(check, hint, "queue %s does not exist (%s)", q.Queue.Name, q.Queue.Purpose)
			continue
		}
		kinds[fmt.Sprint(q.Queue.Arguments["x-queue-type"])] = true
		state, texts := OK, []string{}
		for _, d := range q.Differences {
			switch {
			case d.Want == nil && !limiting[d.Argument]:
				continue // SourceConfig.QueueArguments may set it
			case d.Harmful:
				state = Fail
			case state == OK:
				state = Warn
			}
			texts = append(texts, d.Text+": "+d.Means)
		}
		if state != OK {
			l.add(check, state, "delete the queue once it is drained, and let the consumer declare it again; see pulsectl broker topology",
				fmt.Sprintf("queue %s: %s", q.Queue.Name, strings.Join(texts, "; ")))
		}
	}
	if !l.has(check) {
		l.ok(check, "%d queues as a consumer declares them, type %s", len(reports), listed(slices.Sorted(maps.Keys(kinds))))
	}
	if kinds["classic"] {
		l.warn(check, "declare quorum queues (the default) under another name, and move", "queue %s is a classic queue: it lives on one node, and a retry that falls due while it does not exist is lost", l.Queues.Source.Queue)
	}
}

func (l *brokerLook) policies() {
	const check = "broker.policies"
	if !l.managed {
		l.Unknown(check, "", "cannot be seen without the management API: a policy may limit, expire or delete messages")
		return
	}
	names := l.Queues.Names()
	roles := map[string]role{names.Queue: consumed, names.DeadLetters: deadLetters}
	for _, delay := range names.Retry {
		roles[delay.Queue] = retry
	}
	seen := 0
	for _, q := range l.described {
		if role, ours := roles[q.Name]; ours {
			seen++
			l.judgePolicies(check, role, q)
		}
	}
	if !l.has(check) {
		l.ok(check, "no policy limits, expires or deletes messages of %d queues", seen)
	}
}

// bindings reports topics that no queue gets, and a consumer's queue that gets
// nothing.
func (l *brokerLook) bindings(ctx context.Context) {
	const check = "broker.bindings"
	if !l.managed {
		l.Unknown(check, "", "cannot be seen without the management API; messages that no queue gets are retried: pulsectl outbox ls --status retrying")
		return
	}
	bindings, err := l.Management.Bindings(ctx)
	if err != nil {
		l.unseen(check, err)
		return
	}
	kinds := map[string]string{}
	for _, x := range l.exchanges {
		kinds[x.Name] = x.Type
	}
	l.handlers(ctx, routing.Table{Kinds: kinds, Bindings: bindings})
	queue, bound := l.Queues.Source.Queue, []string{}
	for _, b := range bindings {
		if b.Source != "" && b.ToQueue() && b.Destination == queue {
			bound = append(bound, b.Key)
		}
	}
	exists := slices.ContainsFunc(l.described, func(q queues.Described) bool { return q.Name == queue })
	if exists && len(bound) == 0 {
		l.fail(check, "start the consumer, which binds it, or bind it: pulsectl broker topology", "queue %s is bound to no exchange: it gets no messages", queue)
	}
	missing, known := unbound(l.Topics, l.o.Exchange, kinds, bindings)
	for _, x := range l.exchanges {
		if other, _ := x.Arguments["alternate-exchange"].(string); x.Name == l.o.Exchange && other != "" {
			var sure bool
			missing, sure = unbound(missing, other, kinds, bindings)
			known = known && sure
		}
	}
	for _, topic := range missing {
		l.fail(check, fmt.Sprintf("start the consumer that declares a queue for it, or bind one to exchange %s with this key", l.o.Exchange),
			"no queue is bound for topic %s: its messages are retried until there is one", topic)
	}
	if !known {
		l.Unknown(check, "", "an exchange on the way from %s routes by more than the key", l.o.Exchange)
	}
	if !l.has(check) {
		l.ok(check, "queue %s gets %s; every topic of the outbox (%d) has a queue", queue, listed(bound), len(l.Topics))
	}
}

// consumers compares the consumers of the queue with those that report to the
// inbox.
func (l *brokerLook) consumers(ctx context.Context) {
	const check = "broker.consumers"
	d, err := l.Queues.Depths(ctx)
	switch queue := l.Queues.Source.Queue; {
	case err != nil:
		l.unseen(check, err)
	case slices.Contains(d.Missing, queue): // said already
	case l.Instances < 0:
		l.ok(check, "%d on queue %s", d.Consumers, queue)
	case d.Consumers > l.Instances:
		l.warn(check, "look who consumes it: rabbitmqctl list_consumers; give each consumer a queue of its own",
			"%d consumers on queue %s, and only %d report to this inbox: the others take messages away from it", d.Consumers, queue, l.Instances)
	default:
		l.ok(check, "%d on queue %s, and %d report to this inbox", d.Consumers, queue, l.Instances)
	}
}

// deadLetters counts dead letters. Their reasons are in their headers: AMQP lets
// nobody look without taking, so that is done on request.
func (l *brokerLook) deadLetters(ctx context.Context) {
	const check = "broker.deadletters"
	names := l.Queues.Names()
	d, err := l.Queues.Depths(ctx)
	switch {
	case err != nil:
		l.unseen(check, err)
		return
	case slices.Contains(d.Missing, names.DeadLetters): // said already
		return
	case d.DeadLettered == 0:
		l.ok(check, "no dead letters")
		return
	case !l.o.ReadDeadLetters:
		l.warn(check, "for their reasons: pulsectl dlq stats", "%d dead letters in %s", d.DeadLettered, names.DeadLetters)
		return
	}
	reasons := map[string]int{}
	err = l.Queues.Inspect(ctx, func(ctx context.Context, i *inboxrabbit.Inspector) error {
		return i.DeadLetters(ctx, func(d inboxrabbit.DeadLetter) error {
			reasons[reasonOf(d)]++
			return nil
		})
	})
	if err != nil {
		l.unseen(check, err)
	}
	l.byReason(check, fmt.Sprintf("%d dead letters in %s", d.DeadLettered, names.DeadLetters), reasons, false, "see docs/operations.md, Dead letters")
}

func reasonOf(d inboxrabbit.DeadLetter) string {
	reason, last := d.Reason, d.LastError
	if reason == "" {
		reason = inbox.Reason("not known")
	}
	const most = 120
	if len(last) > most {
		last = strings.ToValidUTF8(last[:most], "") + "..."
	}
	return strings.TrimSuffix(string(reason)+" ("+last+")", " ()")
}
