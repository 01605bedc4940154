package chaostest

import (
	"context"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/process"
)

// readLimit bounds the reading of the history.
const readLimit = 30 * time.Second

// shown is how many ids of a finding a failure shows.
const shown = 10

// judge fails the test unless the history is clean.
func (r *run) judge(t testing.TB) {
	t.Helper()
	h, err := r.history()
	if err != nil {
		t.Fatalf("chaostest, seed %d: read what has happened: %v", r.cfg.Seed, err)
	}
	report := check.Judge(h)
	t.Logf("chaostest, seed %d: %d faults, %d events, %d applied, %d dead, %d dead letters, %d copies",
		r.cfg.Seed, len(r.faults), report.Orders, report.Applied, report.Dead, report.DeadLettered, report.Copies)
	if report.Verdict() == check.Clean {
		return
	}
	text := fmt.Sprintf("chaostest, seed %d: the verdict is %s", r.cfg.Seed, report.Verdict())
	for _, f := range report.Findings {
		text += fmt.Sprintf("\n%s, %d: %s: %v", f.Kind, len(f.IDs), f.Kind.Meaning(), f.IDs[:min(shown, len(f.IDs))])
	}
	t.Errorf("%s\n%s", text, r.again())
}

// again says how to repeat the run.
func (r *run) again() string {
	return fmt.Sprintf("the same faults again: %s=%d go test", SeedVariable, r.cfg.Seed)
}

// history collects what was recorded. The outbox's rows stand for the orders: what
// Enqueue promises about transactions is not what is under test here.
func (r *run) history() (*check.History, error) {
	ctx, cancel := context.WithTimeout(context.Background(), readLimit)
	defer cancel()
	rows, err := r.rows(ctx)
	if err != nil {
		return nil, err
	}
	effects, err := r.cfg.Effects(ctx)
	if err != nil {
		return nil, err
	}
	h := &check.History{Answers: r.answers, Publications: r.tap.Publications(), DeadLetters: r.deadLetters()}
	known := make(map[string]bool, len(rows))
	for _, row := range rows {
		event := row.ID.String()
		known[event] = true
		if !r.applies(row) {
			continue
		}
		h.Orders = append(h.Orders, check.Order{ID: event, Event: event, Key: row.Key, N: int(row.Seq)})
		h.Outbox = append(h.Outbox, check.Row{Event: event, Status: check.Status(row.Status), Body: process.Digest(row.Payload)})
	}
	applied := make(map[string]bool, len(h.Orders))
	for _, o := range h.Orders {
		applied[o.Event] = true
	}
	// Events of other topics are not judged; those of no outbox are ghosts.
	publications := h.Publications
	h.Publications = nil
	for _, p := range publications {
		if applied[p.Event] || !known[p.Event] {
			h.Publications = append(h.Publications, p)
		}
	}
	for event, n := range effects {
		for range n {
			h.Effects = append(h.Effects, check.Effect{Event: event})
		}
		if n > 0 { // the inbox itself is not read: its rows are what the effects say
			h.Inbox = append(h.Inbox, event)
		}
	}
	return h, nil
}

// deadLetters returns the events in the dead-letter queue.
func (r *run) deadLetters() (events []string) {
	conn, err := amqp.Dial(r.broker.URL())
	if err != nil {
		return nil
	}
	defer conn.Close() // returns what was got
	ch, err := conn.Channel()
	if err != nil {
		return nil
	}
	for {
		d, ok, err := ch.Get(r.cfg.Queue+".dlq", false)
		if err != nil || !ok {
			return events
		}
		events = append(events, d.MessageId)
	}
}
