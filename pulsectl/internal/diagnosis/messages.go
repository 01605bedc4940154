package diagnosis

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
)

// sampled is how many dead messages are looked at for their reasons.
const sampled = 500

// LookAtOutbox reports on what is in the outbox.
func LookAtOutbox(ctx context.Context, r *Report, ob *outbox.Outbox) {
	const check = "outbox.dead"
	page, err := ob.List(ctx, outbox.ListQuery{Statuses: []outbox.Status{outbox.Dead}, WithoutPayload: true, Limit: sampled})
	if err != nil {
		r.unseen(check, err)
		return
	}
	reasons := map[string]int{}
	for _, m := range page.Records {
		reasons[m.LastError]++
	}
	r.byReason(check, "dead messages", reasons, page.Next != 0, "pulsectl outbox ls --status dead; then: pulsectl outbox retry ID, or discard")
}

// byReason reports how many messages ended for which reason.
func (r *Report) byReason(check, what string, reasons map[string]int, more bool, hint string) {
	if len(reasons) == 0 {
		r.ok(check, "no %s", what)
		return
	}
	order := slices.SortedFunc(maps.Keys(reasons), func(a, b string) int {
		if reasons[a] != reasons[b] {
			return reasons[b] - reasons[a]
		}
		return strings.Compare(a, b)
	})
	var texts []string
	for _, reason := range order {
		text := strings.Join(strings.Fields(reason), " ")
		if text == "" {
			text = "no reason"
		}
		texts = append(texts, fmt.Sprintf("%d: %s", reasons[reason], text))
	}
	of := ""
	if more {
		of = fmt.Sprintf(", of the newest %d", sampled)
	}
	r.warn(check, hint, "%s by reason%s: %s", what, of, listed(texts))
}

// retentionSlack is how far behind a purge may be.
const retentionSlack = time.Hour

// LookAtRetention compares how long both sides remember: an inbox that forgets
// sooner than messages can be replayed applies them twice.
func LookAtRetention(ctx context.Context, r *Report, ob *outbox.Outbox, in *inbox.Inbox, o Options) {
	const check = "retention"
	const longer = "raise ConsumerConfig.Retention"
	if o.ReplayHorizon > o.InboxRetention {
		r.fail(check, longer+", or replay with a shorter --replay-horizon", "events can be replayed for %s, and the inbox forgets them after %s: a replay would apply them again",
			short(o.ReplayHorizon), short(o.InboxRetention))
	}
	if o.OutboxRetention > o.InboxRetention {
		r.warn(check, longer+", or lower RelayConfig.Retention", "the outbox keeps published messages for %s, and the inbox forgets them after %s", short(o.OutboxRetention), short(o.InboxRetention))
	}
	var oldest time.Duration
	if ob != nil {
		page, err := ob.List(ctx, outbox.ListQuery{Statuses: []outbox.Status{outbox.Published}, OldestFirst: true, WithoutPayload: true, Limit: 1})
		if err != nil {
			r.unseen(check, err)
			return
		}
		for _, m := range page.Records {
			oldest = time.Since(m.PublishedAt)
		}
	}
	switch {
	case oldest > o.InboxRetention:
		r.fail(check, "find out why nothing purges the outbox: the relay's health and log", "the outbox has a message that was published %s ago, and the inbox forgets after %s", short(oldest), short(o.InboxRetention))
	case oldest > o.OutboxRetention+o.OutboxRetention/10+retentionSlack:
		r.warn(check, "see the relay's health and log; or, if that is intended: pulsectl doctor --outbox-retention DURATION",
			"the oldest published message is of %s ago, and the outbox should keep them for %s: nothing purges it", short(oldest), short(o.OutboxRetention))
	}
	if in != nil {
		s, err := in.Stats(ctx)
		if err != nil {
			r.unseen(check, err)
			return
		}
		if age := time.Since(s.Oldest); !s.Oldest.IsZero() && age > o.InboxRetention+o.InboxRetention/10+retentionSlack {
			r.warn(check, "see the consumer's health and log; or, if that is intended: pulsectl doctor --inbox-retention DURATION",
				"the oldest applied event is of %s ago, and the inbox should keep them for %s: nothing purges it", short(age), short(o.InboxRetention))
		}
	}
	if !r.has(check) {
		r.ok(check, "outbox %s, inbox %s, replay horizon %s", short(o.OutboxRetention), short(o.InboxRetention), short(o.ReplayHorizon))
	}
}

// consumers are the running consumers of one inbox database.
type consumers map[string][]inbox.InstanceStatus // by name

// LookAtConsumers reports consumers that take messages from each other. It
// returns how many instances run, and how many are subscribed to each queue.
func LookAtConsumers(ctx context.Context, r *Report, db *sqlx.DB, in *inbox.Inbox) (running int, subscribed map[string]int) {
	const check = "inbox.consumers"
	subscribed = map[string]int{}
	names, err := in.Consumers(ctx)
	if err != nil {
		r.unseen(check, err)
		return 0, subscribed
	}
	var reporting []string
	if err := db.SelectContext(ctx, &reporting, `SELECT DISTINCT consumer FROM inbox_instances`); err != nil {
		r.unseen(check, err)
		return 0, subscribed
	}
	all := consumers{}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(names, reporting, []string{in.Consumer()})))) {
		one, err := inbox.New(db, name)
		if err != nil {
			r.unseen(check, err)
			continue
		}
		instances, err := one.Instances(ctx)
		if err != nil {
			r.unseen(check, err)
			continue
		}
		for _, i := range instances {
			if !i.Live {
				continue
			}
			all[name] = append(all[name], i)
			running++
			if i.Subscribed {
				subscribed[i.Queue]++
			}
		}
	}
	r.judgeConsumers(check, all)
	return running, subscribed
}

func (r *Report) judgeConsumers(check string, all consumers) {
	queues := map[string][]string{} // the consumers of each
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		read := map[string]bool{}
		for _, i := range all[name] {
			if i.Queue != "" {
				read[i.Queue] = true
			}
		}
		theirs := slices.Sorted(maps.Keys(read))
		if len(theirs) > 1 {
			r.fail(check, "give each consumer a name of its own: inbox.New(db, NAME)",
				"instances named %s read different queues (%s): each skips what the other has applied, if an event reaches both", name, listed(theirs))
		}
		for _, queue := range theirs {
			queues[queue] = append(queues[queue], name)
		}
		texts = append(texts, fmt.Sprintf("%s (%d of %s)", name, len(all[name]), listed(theirs)))
	}
	for _, queue := range slices.Sorted(maps.Keys(queues)) {
		if names := queues[queue]; len(names) > 1 {
			r.fail(check, "give each consumer a queue of its own, bound to the same topics", "consumers %s share queue %s: each message reaches only one of them", listed(names), queue)
		}
	}
	switch {
	case r.has(check):
	case len(texts) == 0:
		r.ok(check, "none runs")
	default:
		r.ok(check, "%s", listed(texts))
	}
}

// Topics returns the topics of the newest and of the pending messages.
func Topics(ctx context.Context, db *sqlx.DB) (topics []string, err error) {
	err = db.SelectContext(ctx, &topics, `SELECT DISTINCT topic FROM (SELECT topic FROM outbox_messages ORDER BY seq DESC LIMIT 10000) AS newest
		UNION SELECT DISTINCT topic FROM (SELECT topic FROM outbox_messages WHERE status = 'pending' LIMIT 10000) AS pending ORDER BY topic`)
	return topics, err
}
