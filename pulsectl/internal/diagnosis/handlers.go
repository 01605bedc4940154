package diagnosis

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/asimalizada/pulse-events/internal/rabbit/routing"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

// mostQueues is how many queues are asked for their consumers.
const mostQueues = 200

// handlers reports queues that get messages and that nobody consumes, and topics
// that reach nothing else.
func (l *brokerLook) handlers(ctx context.Context, table routing.Table) {
	const check = "broker.handlers"
	consumed := map[string]int{}
	behind := slices.Sorted(maps.Keys(table.Behind(l.o.Exchange)))
	for _, name := range behind[:min(len(behind), mostQueues)] {
		n, err := queues.Consumers(ctx, l.conn, name)
		if err != nil {
			l.unseen(check, err)
			return
		}
		consumed[name] = n
	}
	if len(behind) > mostQueues {
		l.Unknown(check, "", "%d queues are bound; the first %d are looked at", len(behind), mostQueues)
	}
	reached := map[string][]string{}
	for _, topic := range l.Topics {
		r := table.Reaches(topic, l.o.Exchange)
		reached[topic] = slices.Sorted(maps.Keys(r.Queues))
		if r.Unsure {
			delete(reached, topic)
		}
	}
	l.judgeHandlers(check, reached, consumed, l.Subscribed)
}

// judgeHandlers judges queues by the number of their consumers. reached are the queues
// of each topic; subscribed is how many instances report that they consume a queue.
func (r *Report) judgeHandlers(check string, reached map[string][]string, consumed, subscribed map[string]int) {
	idle := func(queue string) bool { n, known := consumed[queue]; return known && n == 0 }
	for _, topic := range slices.Sorted(maps.Keys(reached)) {
		if all := reached[topic]; len(all) > 0 && !slices.ContainsFunc(all, func(queue string) bool { return !idle(queue) }) {
			r.warn(check, "start a consumer of it", "nobody handles topic %s: its messages wait in %s", topic, strings.Join(all, ", "))
		}
	}
	var ours, others []string
	for _, queue := range slices.Sorted(maps.Keys(consumed)) {
		switch {
		case idle(queue):
			r.warn(check, "start its consumer; if it has none any more, delete the queue, which fills up: rabbitmqadmin delete queue name="+queue,
				"queue %s gets messages, and has no consumer", queue)
		case subscribed[queue] > 0:
			ours = append(ours, queue)
		default:
			others = append(others, fmt.Sprintf("%s (%d)", queue, consumed[queue]))
		}
	}
	if r.has(check) {
		return
	}
	texts := []string{"every queue that gets messages is consumed"}
	if len(ours) > 0 {
		texts = append(texts, listed(ours)+" by consumers that report to this inbox")
	}
	if len(others) > 0 {
		texts = append(texts, listed(others)+" by others")
	}
	r.ok(check, "%s", strings.Join(texts, "; "))
}
