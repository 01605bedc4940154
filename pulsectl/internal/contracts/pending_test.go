package contracts_test

import (
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
	"github.com/asimalizada/pulse-events/outbox/wire/contract"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/contracts"
)

// The deploy makes amount a required number.
func deployed(t *testing.T) *contract.Set {
	t.Helper()
	set, err := contract.Load(fstest.MapFS{
		"order.created/1.json": {Data: []byte(`{"type":"object","required":["amount"],"properties":{"amount":{"type":"number"}}}`)},
	}, contract.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return set
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
	var p contracts.Pending
	if err := p.Queues(t.Context(), i, names, deployed(t).Consumer()); err != nil {
		t.Fatal(err)
	}
	want := []contracts.Broken{
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
	var msgs []outbox.Message
	for n := range 120 { // more than a page
		m := outbox.NewMessage("order.created", []byte(`{"amount":1}`))
		if n == 0 || n == 119 {
			m.Payload = []byte(`{"amount":null}`)
		}
		msgs = append(msgs, m)
	}
	tx := db.MustBegin()
	if err := ob.Enqueue(t.Context(), tx, msgs...); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	var p contracts.Pending
	if err := p.Outbox(t.Context(), ob, deployed(t).Consumer()); err != nil {
		t.Fatal(err)
	}
	if p.Looked != 120 || p.Breaks != 2 || p.Broken[0].ID != msgs[0].ID.String() || p.Broken[1].ID != msgs[119].ID.String() ||
		!strings.HasPrefix(p.Broken[0].Problem, "$.amount: ") || p.Broken[0].Place != "outbox" || p.Broken[0].State != "pending" {
		t.Errorf("found %+v", p)
	}
}
