package notifications_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/examples/notifications"
	"github.com/asimalizada/pulse-events/inbox"
)

const vectorID = "0198c0de-7a11-7c3e-9d02-5b1f0a6e4d21"

func vector(t *testing.T) []byte {
	t.Helper()
	body, err := os.ReadFile("../../testdata/contracts/order.created.json")
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestDecodeOrderCreated(t *testing.T) {
	event, err := notifications.DecodeOrderCreated(inbox.Message{ID: vectorID, Payload: vector(t)})
	if err != nil {
		t.Fatal(err)
	}
	n := notifications.For(event)
	if n.EventID.String() != vectorID || n.OrderID.String() != "0198c0de-7a10-7f00-8a44-3e2d1c0b9a87" ||
		n.CustomerID != "customer-123" || n.Amount != 7750 || n.CorrelationID != "checkout-4711" || n.ID == n.EventID {
		t.Errorf("notification %+v", n)
	}
	if got := event.OccurredAt.Format("2006-01-02T15:04:05.000000Z07:00"); got != "2026-01-15T09:30:00.123456Z" {
		t.Errorf("occurredAt %s", got)
	}
}

func TestDecodeOrderCreatedRefusesWhatBreaksTheContract(t *testing.T) {
	var whole map[string]any
	if err := json.Unmarshal(vector(t), &whole); err != nil {
		t.Fatal(err)
	}
	for field := range whole {
		for about, change := range map[string]func(map[string]any){
			"missing":       func(m map[string]any) { delete(m, field) },
			"null":          func(m map[string]any) { m[field] = nil },
			"another shape": func(m map[string]any) { m[field] = []int{1} },
			"empty":         func(m map[string]any) { m[field] = "" },
		} {
			t.Run(field+" "+about, func(t *testing.T) {
				broken := make(map[string]any)
				for k, v := range whole {
					broken[k] = v
				}
				change(broken)
				body, err := json.Marshal(broken)
				if err != nil {
					t.Fatal(err)
				}
				_, err = notifications.DecodeOrderCreated(inbox.Message{ID: vectorID, Payload: body})
				if !isDeadLetter(err) {
					t.Errorf("%s: %v, want a dead letter", body, err)
				}
			})
		}
	}
	for _, body := range []string{"", "not JSON", "null", "[]", "{}", `{"eventId":`, string(vector(t)) + "{}"} {
		if _, err := notifications.DecodeOrderCreated(inbox.Message{ID: vectorID, Payload: []byte(body)}); !isDeadLetter(err) {
			t.Errorf("%q: %v, want a dead letter", body, err)
		}
	}
	other := inbox.Message{ID: "0198c0de-0000-7c3e-9d02-5b1f0a6e4d21", Payload: vector(t)}
	if _, err := notifications.DecodeOrderCreated(other); !isDeadLetter(err) || !strings.Contains(err.Error(), "eventId") {
		t.Errorf("body of another message: %v", err)
	} else if dead, ok := errors.AsType[*inbox.DeadLetterError](err); !ok || dead.Reason != inbox.ReasonContract {
		t.Errorf("body of another message: %+v, want %q", dead, inbox.ReasonContract)
	}
	_, err := notifications.DecodeOrderCreated(inbox.Message{ID: vectorID, Payload: []byte("not JSON")})
	if dead, ok := errors.AsType[*inbox.DeadLetterError](err); !ok || dead.Reason != inbox.ReasonUndecodable {
		t.Errorf("no JSON: %+v, want %q", dead, inbox.ReasonUndecodable)
	}
}

func TestDecodeOrderCreatedLetsNewFieldsPass(t *testing.T) {
	body := strings.Replace(string(vector(t)), "{", `{"currency": "EUR",`, 1)
	if _, err := notifications.DecodeOrderCreated(inbox.Message{ID: vectorID, Payload: []byte(body)}); err != nil {
		t.Errorf("a field the contract may gain: %v", err)
	}
}

func isDeadLetter(err error) bool {
	_, ok := errors.AsType[*inbox.DeadLetterError](err)
	return ok
}
