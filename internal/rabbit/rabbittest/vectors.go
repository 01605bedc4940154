package rabbittest

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/outbox/wire"
)

// Vector is one file of testdata/wire; README.md there says what they hold.
type Vector struct {
	Message  wire.Message
	Envelope Envelope
	Exchange string // empty: the default
	Error    string
	Failures []struct {
		Reason, Error, Consumer, Exchange string
		At                                time.Time
	}
	Headers map[string]any // that carry the failures
}

// Envelope is a message in AMQP's terms, as the vectors write it.
type Envelope struct {
	Exchange, RoutingKey, MessageID, Type, CorrelationID, ContentType, ContentEncoding, AppID string
	Timestamp                                                                                 time.Time
	DeliveryMode                                                                              uint8
	Headers                                                                                   map[string]any
	Body                                                                                      []byte `json:"-"`
}

// EnvelopeOf returns a delivery as the vectors write it.
func EnvelopeOf(d amqp.Delivery) Envelope {
	return Envelope{
		Exchange: d.Exchange, RoutingKey: d.RoutingKey, MessageID: d.MessageId, Type: d.Type, CorrelationID: d.CorrelationId,
		ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, AppID: d.AppId, Timestamp: d.Timestamp.UTC(),
		DeliveryMode: d.DeliveryMode, Headers: d.Headers, Body: d.Body,
	}
}

// Delivery returns the message as the AMQP library hands it out.
func (e Envelope) Delivery() amqp.Delivery {
	return amqp.Delivery{
		Exchange: e.Exchange, RoutingKey: e.RoutingKey, MessageId: e.MessageID, Type: e.Type, CorrelationId: e.CorrelationID,
		ContentType: e.ContentType, ContentEncoding: e.ContentEncoding, AppId: e.AppID, Timestamp: e.Timestamp,
		DeliveryMode: e.DeliveryMode, Headers: e.Headers, Body: e.Body,
	}
}

// EachVector runs test on every file whose name begins with prefix. root is the
// module's directory as seen from the test.
func EachVector(t *testing.T, root, prefix string, test func(t *testing.T, v Vector)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "testdata", "wire", prefix+"-*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d vectors %s, %v", len(files), prefix, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var v struct {
				Vector
				Body, BodyBase64 string
			}
			d := json.NewDecoder(strings.NewReader(string(text)))
			d.UseNumber()
			if err := d.Decode(&v); err != nil {
				t.Fatal(err)
			}
			body := []byte(v.Body)
			if v.BodyBase64 != "" {
				if body, err = base64.StdEncoding.DecodeString(v.BodyBase64); err != nil {
					t.Fatal(err)
				}
			}
			v.Message.Payload, v.Envelope.Body = body, body
			integers(t, v.Envelope.Headers)
			integers(t, v.Headers)
			test(t, v.Vector)
		})
	}
}

// integers turns the numbers of JSON into those of AMQP.
func integers(t *testing.T, headers map[string]any) {
	t.Helper()
	for name, value := range headers {
		if number, ok := value.(json.Number); ok {
			n, err := number.Int64()
			if err != nil {
				t.Fatal(err)
			}
			headers[name] = n
		}
	}
}
