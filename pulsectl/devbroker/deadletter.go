package devbroker

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// death is the reason why a message left its queue other than by an
// acknowledgement, as in x-death.
type death string

const (
	deathRejected      death = "rejected"
	deathExpired       death = "expired"
	deathMaxLength     death = "maxlen"
	deathDeliveryLimit death = "delivery_limit"
)

// stuckRetry is how often unroutable dead letters are retried, in milliseconds.
const stuckRetry = 500

// stuckLetter is a dead letter of an at-least-once queue that could not be routed yet.
type stuckLetter struct {
	entry *entry
	cause death
}

// deadLetter moves an entry that was removed from q to its dead-letter
// exchange, or drops it.
func (b *Broker) deadLetter(q *queue, e *entry, cause death) {
	if q.settings.deadLetterTo == nil {
		b.discard(q, e)
		return
	}
	switch {
	case b.republish(q, e, cause):
	case q.settings.keepDeadLetters:
		if q.stuck = append(q.stuck, stuckLetter{entry: e, cause: cause}); len(q.stuck) == 1 {
			q.retry = b.later(now()+stuckRetry, func() { b.retryStuck(q) })
		}
	default:
		b.discard(q, e)
	}
}

// retryStuck retries unroutable dead letters.
func (b *Broker) retryStuck(q *queue) {
	q.stuck = slices.DeleteFunc(q.stuck, func(l stuckLetter) bool { return b.republish(q, l.entry, l.cause) })
	if len(q.stuck) > 0 {
		q.retry = b.later(now()+stuckRetry, func() { b.retryStuck(q) })
	}
}

// republish publishes an entry to the dead-letter exchange of its queue and
// removes it. It reports whether it did: if no queue accepts the message,
// nothing has changed.
func (b *Broker) republish(q *queue, e *entry, cause death) bool {
	x := q.vhost.exchanges[*q.settings.deadLetterTo]
	if x == nil {
		return false
	}
	props, err := wire.ParseProperties(e.msg.props)
	if err != nil {
		return false
	}
	keys := routingKeys(e.msg.key, props.Headers)
	headers := recordDeath(props, q, e.msg, cause, keys)
	if q.settings.deadLetterKey != nil {
		delete(headers, "CC")
		keys = []string{*q.settings.deadLetterKey}
	}
	props.Headers, props.Expiration = headers, nil
	targets := q.vhost.router.route(x, keys, wire.AppendTable(nil, headers)[4:])
	if cause != deathRejected {
		targets = slices.DeleteFunc(targets, func(target *queue) bool { return inCycle(headers, target.name) })
	}
	m := &message{exchange: x.name, key: keys[0], props: props.Append(nil), body: e.msg.body, expiration: none, priority: e.msg.priority}
	// The journal adds the dead letter and removes the entry in one record: a
	// crash neither loses nor duplicates it.
	outcome := b.enqueue(m, targets, isPersistent(props), &origin{queue: q, entry: e})
	if outcome.taken == 0 {
		return false
	}
	b.release(e.msg, e)
	return true
}

func isPersistent(p wire.Properties) bool { return p.DeliveryMode != nil && *p.DeliveryMode == 2 }

// recordDeath returns a message's headers with this death in x-death: one entry
// with a count for each queue and reason, the latest first. The first death is
// also recorded in separate headers.
func recordDeath(props wire.Properties, q *queue, m *message, cause death, keys []string) wire.Table {
	headers := wire.Table{}
	for key, value := range props.Headers {
		headers[key] = value
	}
	deaths, known := headers["x-death"].([]any)
	if !known {
		headers["x-first-death-reason"] = string(cause)
		headers["x-first-death-queue"] = q.name
		headers["x-first-death-exchange"] = m.exchange
	}
	same := func(d any) bool {
		t, _ := d.(wire.Table)
		return t["queue"] == q.name && t["reason"] == string(cause)
	}
	if at := slices.IndexFunc(deaths, same); at >= 0 {
		again := wire.Table{}
		for key, value := range deaths[at].(wire.Table) {
			again[key] = value
		}
		count, _ := integer(again["count"])
		again["count"] = count + 1
		headers["x-death"] = append([]any{again}, slices.DeleteFunc(slices.Clone(deaths), same)...)
		return headers
	}
	routed := make([]any, len(keys))
	for i, key := range keys {
		routed[i] = key
	}
	first := wire.Table{
		"count": int64(1), "reason": string(cause), "queue": q.name, "exchange": m.exchange,
		"time": time.Now(), "routing-keys": routed,
	}
	if props.Expiration != nil {
		first["original-expiration"] = *props.Expiration
	}
	headers["x-death"] = append([]any{first}, deaths...)
	return headers
}

// inCycle reports whether a message was in the queue before and came back
// without a reject on the way. Such a message would cycle forever; it is
// dropped, as by RabbitMQ.
func inCycle(headers wire.Table, queue string) bool {
	deaths, _ := headers["x-death"].([]any)
	for _, d := range deaths {
		t, _ := d.(wire.Table)
		if t["reason"] == string(deathRejected) {
			return false
		}
		if t["queue"] == queue {
			return true
		}
	}
	return false
}

// routingKeys returns the key that a message was published with and those in
// its CC header.
func routingKeys(key string, headers wire.Table) []string {
	return append([]string{key}, stringsIn(headers["CC"])...)
}

func stringsIn(v any) (out []string) {
	values, _ := v.([]any)
	for _, value := range values {
		if s, ok := value.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// parseExpiration parses a message's expiration property: milliseconds in
// decimal.
func parseExpiration(s string) (int64, error) {
	rest := strings.TrimLeft(strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+"), "0123456789")
	number := strings.TrimPrefix(s[:len(s)-len(rest)], "+")
	ms, err := strconv.ParseInt(number, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return none, preconditionFailed("invalid expiration '%s': {value_too_large,%s}", s, number)
	case err != nil:
		return none, preconditionFailed("invalid expiration '%s': no_integer", s)
	case rest != "":
		return none, preconditionFailed("invalid expiration '%s': {leftover_string,%q}", s, rest)
	case ms < 0:
		return none, preconditionFailed("invalid expiration '%s': {value_negative,%d}", s, ms)
	case ms > maxMilliseconds:
		return none, preconditionFailed("invalid expiration '%s': {value_too_large,%d}", s, ms)
	}
	return ms, nil
}
