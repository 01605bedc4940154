package inbox_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// opener reads payloads backwards.
type opener struct{}

func (opener) Decode(m *wire.Message) error {
	switch m.Type {
	case "forged":
		return fmt.Errorf("%w: by nobody", wire.ErrSignature)
	case "panics":
		panic("index out of range")
	case "odd":
		return errors.New("no such format")
	}
	payload := bytes.Clone(m.Payload)
	for i, b := range m.Payload {
		payload[len(payload)-1-i] = b
	}
	m.Payload, m.ContentType = payload, "text/plain"
	return nil
}

// Messages that do not pass become dead letters by themselves, before their
// handler; copies of the others are told apart by what has travelled.
func TestConsumerOpens(t *testing.T) {
	eachKind(t, func(t *testing.T, url string, kind newConsumer) {
		in, db := newInbox(t, url)
		msgs := events(5, 1)
		msgs[0].Type, msgs[1].Type, msgs[2].Type = "forged", "panics", "odd"
		msgs[3].Payload, msgs[4].Payload = []byte("cba"), []byte("fed")
		conflict := msgs[3]
		conflict.Payload = []byte("abc")
		seen := make(chan inbox.Message, 10)
		q := inboxtest.NewQueue()
		q.Publish(msgs...)
		q.Publish(msgs[3], conflict)
		consumer := kind.consume(t, in, db, q, func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
			seen <- msg
			return record(ctx, tx, msg)
		}, inbox.ConsumerConfig{Workers: 1, Opener: opener{}})
		q.WaitUntilEmpty(t)
		consumer.stop()
		close(seen)
		var got []string
		for msg := range seen {
			got = append(got, fmt.Sprint(string(msg.Payload), msg.ContentType, msg.Attempt))
		}
		if want := fmt.Sprint([]string{"abctext/plain1", "deftext/plain1"}); fmt.Sprint(got) != want {
			t.Errorf("handled %v, want %v", got, want)
		}
		reasons := map[string]inbox.Reason{}
		for _, s := range q.Settled(inbox.ActionDeadLetter) {
			reasons[s.Delivery.Message.ID] = s.Reason
		}
		want := map[string]inbox.Reason{msgs[0].ID: inbox.ReasonSignature, msgs[1].ID: inbox.ReasonSignature, msgs[2].ID: inbox.ReasonUndecodable, msgs[3].ID: inbox.ReasonConflict}
		if fmt.Sprint(reasons) != fmt.Sprint(want) {
			t.Errorf("dead letters %v, want %v", reasons, want)
		}
		stored, err := in.Get(t.Context(), msgs[4].ID)
		if err != nil || stored.PayloadHash != sha256.Sum256(msgs[4].Payload) {
			t.Errorf("stored: %+v, %v; want the hash of what has travelled", stored, err)
		}
	})
}
