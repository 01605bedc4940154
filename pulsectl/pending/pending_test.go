package pending_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
	"github.com/asimalizada/pulse-events/outbox/wire/contract"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/pending"
)

// The deploy makes amount a required number.
func deployed(t *testing.T) pending.Check {
	t.Helper()
	set, err := contract.Load(fstest.MapFS{
		"order.created/1.json": {Data: []byte(`{"type":"object","required":["amount"],"properties":{"amount":{"type":"number"}}}`)},
	}, contract.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, msg inbox.Message) error {
		return inbox.ConsumerConfig{Contracts: set.Consumer()}.Check(ctx, nil, msg)
	}
}

// A letter that waits in the dead-letter queue and would break after a deploy is
// found, with its id and the path, and stays where it is.
func TestPendingFindsLetterThatADeployWouldBreak(t *testing.T) {
	url := devbroker.NewTest(t).URL()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	names := inboxrabbit.QueueNames("order.created", []time.Duration{time.Hour})
	for _, queue := range []string{names.Queue, names.DeadLetters, names.Retry[0].Queue} {
		if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	put := func(queue, id, body string, version any) {
		headers := amqp.Table{"pulse-topic": "order.created"}
		if version != nil {
			headers["pulse-version"] = version
		}
		err := ch.PublishWithContext(t.Context(), "", queue, false, false, amqp.Publishing{MessageId: id, Type: "OrderCreated", ContentType: "application/json", Headers: headers, Body: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, time.Minute, id+" to be in "+queue, func() bool {
			q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
			return err == nil && q.Messages > 0
		})
	}
	put(names.DeadLetters, "letter", `{"amount":"77.5"}`, nil)
	put(names.Retry[0].Queue, "retried", `{"total":1}`, int64(1))
	put(names.Queue, "queued", `{"amount":1,"new":true}`, int64(2))

	i, err := inboxrabbit.OpenInspector(t.Context(), inboxrabbit.SourceConfig{URL: url, Queue: "order.created", RetryDelays: []time.Duration{time.Hour},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	var p pending.Report
	if err := p.Queues(t.Context(), i, names, deployed(t)); err != nil {
		t.Fatal(err)
	}
	want := []pending.Broken{
		{Place: "order.created.dlq", State: "dead-lettered", ID: "letter", Type: "OrderCreated", Topic: "order.created",
			Problem: "$.amount: got string, want number (contract order.created/1)"},
		{Place: names.Retry[0].Queue, State: "retry", ID: "retried", Type: "OrderCreated", Topic: "order.created", Version: 1,
			Problem: "$: missing property 'amount' (contract order.created/1)"},
	}
	if p.Looked != 3 || p.Breaks != 2 || len(p.Broken) != 2 || p.Broken[0] != want[0] || p.Broken[1] != want[1] || len(p.NotLooked) > 0 {
		t.Errorf("found %+v, want %+v", p, want)
	}
	testenv.Eventually(t, time.Minute, "the letter to be there as before", func() bool {
		q, err := ch.QueueDeclarePassive(names.DeadLetters, true, false, false, false, nil)
		return err == nil && q.Messages == 1
	})
}

func TestPendingReadsTheOutbox(t *testing.T) {
	ob, enqueue := newOutbox(t)
	var msgs []outbox.Message
	for n := range 120 { // more than a page
		m := outbox.NewMessage("order.created", []byte(`{"amount":1}`))
		if n == 0 || n == 119 {
			m.Payload = []byte(`{"amount":null}`)
		}
		msgs = append(msgs, m)
	}
	enqueue(msgs...)
	var p pending.Report
	if err := p.Outbox(t.Context(), ob, deployed(t)); err != nil {
		t.Fatal(err)
	}
	if p.Looked != 120 || p.Breaks != 2 || p.Broken[0].ID != msgs[0].ID.String() || p.Broken[1].ID != msgs[119].ID.String() ||
		!strings.HasPrefix(p.Broken[0].Problem, "$.amount: ") || p.Broken[0].Place != "outbox" || p.Broken[0].State != "pending" {
		t.Errorf("found %+v", p)
	}
}

// The types of a new version's handlers decide, where its contract says nothing
// against a message.
func TestPendingAsksTheHandlersTypes(t *testing.T) {
	ob, enqueue := newOutbox(t)
	fits, breaks, opaque := outbox.NewMessage("order.created", []byte(`{"amount":1}`)), outbox.NewMessage("order.created", []byte(`{"amount":1.5}`)), outbox.NewMessage("audit", []byte(`?`))
	enqueue(fits, breaks, opaque)
	mux := inbox.NewMux(inbox.MuxConfig{})
	mux.HandleTopic("order.created", inbox.JSON(func(context.Context, inbox.Tx, inbox.Message, struct{ Amount int }) error {
		return errors.New("called")
	}))
	mux.HandleTopic("audit", func(context.Context, inbox.Tx, inbox.Message) error { return errors.New("called") })
	var p pending.Report
	if err := p.Outbox(t.Context(), ob, func(ctx context.Context, msg inbox.Message) error { return inbox.ConsumerConfig{}.Check(ctx, mux, msg) }); err != nil {
		t.Fatal(err)
	}
	p.Done()
	if p.Looked != 3 || p.Breaks != 1 || p.Broken[0].ID != breaks.ID.String() || !strings.Contains(p.Broken[0].Problem, "$.amount: JSON number 1.5 is no int") {
		t.Errorf("found %+v", p)
	}
	if len(p.NotLooked) != 1 || !strings.HasPrefix(p.NotLooked[0], "1 messages: cannot be told: the handler of") {
		t.Errorf("not looked into: %q", p.NotLooked)
	}
}

// newOutbox returns an outbox, and a function that enqueues messages in it.
func newOutbox(t *testing.T) (*outbox.Outbox, func(...outbox.Message)) {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "outbox.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	ob, err := outbox.New(db)
	if err == nil {
		_, err = ob.Migrate(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return ob, func(msgs ...outbox.Message) {
		t.Helper()
		tx := db.MustBegin()
		if err := ob.Enqueue(t.Context(), tx, msgs...); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}
