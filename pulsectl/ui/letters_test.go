package ui_test

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/ui"
)

// letters is a service with dead letters of two groups: two with "cannot render
// order N", one with another error.
func letters(t *testing.T, change func(*ui.Config)) (s *service, ids []string, count func(queue string) int) {
	t.Helper()
	broker := devbroker.NewTest(t)
	s = newService(t, func(cfg *ui.Config) {
		cfg.AllowWrites, cfg.Source = true, &inboxrabbit.SourceConfig{URL: broker.URL(), Queue: "order.created"}
		if change != nil {
			change(cfg)
		}
	})
	conn, err := amqp.Dial(broker.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	for _, queue := range []string{"order.created", "order.created.dlq"} {
		if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for _, problem := range []string{"cannot render order 17", "cannot render order 18", "<b>no such customer</b>"} {
		id := uuid.NewString()
		ids = append(ids, id)
		confirm, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), "", "order.created.dlq", true, false, amqp.Publishing{
			MessageId: id, Body: []byte(`{"card":"4111"}`), DeliveryMode: amqp.Persistent,
			Headers: amqp.Table{"pulse-reason": "handler", "pulse-last-error": problem, "pulse-topic": "order.created", "pulse-consumer": "notifications", "pulse-attempts": int64(3)},
		})
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := confirm.WaitContext(t.Context()); err != nil || !ok {
			t.Fatalf("confirmed %v, %v", ok, err)
		}
	}
	return s, ids, func(name string) int {
		t.Helper()
		q, err := ch.QueueDeclarePassive(name, true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
		if err != nil {
			t.Fatal(err)
		}
		return q.Messages
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	s, ids, count := letters(t, nil)
	body := s.shows("/deadletters", http.StatusOK, "3 in order.created.dlq", ">2<", "&lt;b&gt;", "handler")
	s.shows("/", http.StatusOK, "3 dead letters in order.created.dlq", `href="/deadletters"`)
	s.shows("/deadletters?error=RENDER", http.StatusOK, "2 of 3", ids[0], ids[1])
	s.shows("/deadletters?reason=other", http.StatusOK, "No letter matches.")
	s.shows("/deadletters/"+ids[0], http.StatusOK, "cannot render order 17", "Hidden", "15 bytes")
	s.shows("/deadletters/"+uuid.NewString(), http.StatusNotFound)
	s.shows("/trace?id="+ids[0], http.StatusOK, "dead-lettered", "order.created.dlq")
	if strings.Contains(body, "4111") {
		t.Error("payloads are not hidden")
	}

	form := url.Values{"csrf": {s.token("/deadletters")}, "confirm": {"yes"}, "error": {"render"}}
	if status, _, body := s.post("/deadletters/requeue", url.Values{"confirm": {"yes"}}); status != http.StatusForbidden {
		t.Errorf("without a token: %d\n%s", status, body)
	}
	if status, _, body := s.post("/deadletters/discard", form); status != http.StatusNotFound {
		t.Errorf("discard without a directory: %d\n%s", status, body)
	}
	if count("order.created.dlq") != 3 {
		t.Fatal("one of them changed something")
	}
	status, _, body := s.post("/deadletters/requeue", form)
	if status != http.StatusOK || !strings.Contains(body, "2 of 2 matching letters requeued.") || !strings.HasSuffix(strings.TrimSpace(body), "</html>") {
		t.Errorf("%d\n%s", status, body)
	}
	if letters, moved := count("order.created.dlq"), count("order.created"); letters != 1 || moved != 2 {
		t.Errorf("%d letters, %d moved", letters, moved)
	}
	s.shows("/audit", http.StatusOK, "dlq requeue", "web", ids[0])
	page, err := s.cfg.Outbox.Audit(t.Context(), outbox.AuditQuery{})
	if err != nil || len(page.Entries) != 1 || page.Entries[0].Count != 2 {
		t.Errorf("%+v, %v", page.Entries, err)
	}
}

func TestDiscardDeadLetters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, ids, count := letters(t, func(cfg *ui.Config) {
		cfg.DiscardDir, cfg.Actor = dir, func(*http.Request) string { return "ann" }
	})
	form := url.Values{"csrf": {s.token("/deadletters")}, "confirm": {"yes"}, "ref": {ids[2]}}
	if status, _, body := s.post("/deadletters/discard", form); status != http.StatusOK || !strings.Contains(body, "reason: is empty") || count("order.created.dlq") != 3 {
		t.Errorf("without a reason: %d\n%s", status, body)
	}
	form.Set("reason", "a test order")
	status, _, body := s.post("/deadletters/discard", form)
	if status != http.StatusOK || !strings.Contains(body, "1 of 1 matching letter discarded.") || count("order.created.dlq") != 2 {
		t.Errorf("%d\n%s", status, body)
	}
	files, err := filepath.Glob(filepath.Join(dir, "discarded-*.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if content, err := os.ReadFile(files[0]); err != nil || !strings.Contains(string(content), ids[2]) || !strings.Contains(string(content), "4111") {
		t.Errorf("%s, %v", content, err)
	}
	s.shows("/audit?actor=ann", http.StatusOK, "dlq discard", "a test order")
}

// A heal ends with the browser that waits for it.
func TestHealEnds(t *testing.T) {
	t.Parallel()
	s, _, count := letters(t, nil)
	form := url.Values{"csrf": {s.token("/deadletters")}, "confirm": {"yes"}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/deadletters/heal", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	// Nobody consumes the queue: the first wave has no outcome.
	seen := ""
	for buffer := make([]byte, 4096); !strings.Contains(seen, "Wave 1: 0 of 1 letter applied"); {
		n, err := res.Body.Read(buffer)
		seen += string(buffer[:n])
		if err != nil {
			t.Fatalf("%v\n%s", err, seen)
		}
	}
	cancel()
	if letters, moved := count("order.created.dlq"), count("order.created"); letters != 2 || moved != 1 {
		t.Errorf("%d letters, %d moved", letters, moved)
	}
}
