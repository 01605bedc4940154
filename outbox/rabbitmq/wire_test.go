package rabbitmq_test

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/wire"
	"github.com/asimalizada/pulse-events/outbox"
)

// What leaves the broker is what testdata/wire says, property by property.
func TestWireVectors(t *testing.T) {
	files, err := filepath.Glob("../../testdata/wire/message-*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var vector struct {
				Message          wire.Message
				Envelope         json.RawMessage
				Exchange         string // "": the default
				Body, BodyBase64 string
			}
			if err := json.Unmarshal(text, &vector); err != nil {
				t.Fatal(err)
			}
			body := []byte(vector.Body)
			if vector.BodyBase64 != "" {
				if body, err = base64.StdEncoding.DecodeString(vector.BodyBase64); err != nil {
					t.Fatal(err)
				}
			}
			b, m := newBroker(t), vector.Message
			b.exchange = cmp.Or(vector.Exchange, wire.Exchange)
			cfg := b.config(t)
			cfg.Producer = m.Producer
			b.queue(t, m.Topic, nil)
			wantPublished(t, publishSoon(t, newPublisher(t, cfg), []outbox.Message{{
				ID: uuid.MustParse(m.ID), Topic: m.Topic, Type: m.Type, Key: m.Key, Payload: body, ContentType: m.ContentType,
				Headers: m.Headers, CorrelationID: m.CorrelationID, CausationID: m.CausationID, OccurredAt: m.OccurredAt, Seq: m.Seq,
			}}))
			delivery := b.take(t, m.Topic, 1)[0]

			got := rabbit.EnvelopeOf(delivery)
			if seq, present := got.Headers[wire.HeaderSeq]; present {
				if _, ok := seq.(int64); !ok {
					t.Errorf("%s is a %T, want an int64", wire.HeaderSeq, seq)
				}
			}
			if string(got.Body) != string(body) {
				t.Errorf("body %q, want %q", got.Body, body)
			}
			got.Timestamp = got.Timestamp.UTC()
			gotText, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(anyJSON(t, gotText), anyJSON(t, vector.Envelope)) {
				t.Errorf("envelope\n%s, want\n%s", gotText, vector.Envelope)
			}
		})
	}
}

func anyJSON(t *testing.T, text []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
