package wire

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const vectors = "../../testdata/wire/"

// vector is one file of testdata/wire; README.md there says what they hold.
type vector struct {
	Message    Message
	Envelope   Envelope
	Exchange   string
	Body       string
	BodyBase64 string
	Error      string
	Failures   []struct {
		Reason                    Reason
		Error, Consumer, Exchange string
		At                        time.Time
	}
	Headers map[string]any
}

// eachVector runs test on every file whose name begins with prefix.
func eachVector(t *testing.T, prefix string, test func(t *testing.T, v vector)) {
	t.Helper()
	files, err := filepath.Glob(vectors + prefix + "-*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d vectors %s, %v", len(files), prefix, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var v vector
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
			test(t, v)
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

func requireEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func TestMessageVectors(t *testing.T) {
	eachVector(t, "message", func(t *testing.T, v vector) {
		exchange := first(v.Exchange, Exchange)
		requireEqual(t, "envelope", Encode(v.Message, exchange), v.Envelope)
		decoded, err := Decode(v.Envelope)
		if err != nil {
			t.Fatal(err)
		}
		requireEqual(t, "message", decoded, v.Message)
	})
}

func TestLenientVectors(t *testing.T) {
	eachVector(t, "lenient", func(t *testing.T, v vector) {
		decoded, err := Decode(v.Envelope)
		if err != nil {
			t.Fatal(err)
		}
		requireEqual(t, "message", decoded, v.Message)
	})
}

func TestUndecodableVectors(t *testing.T) {
	eachVector(t, "undecodable", func(t *testing.T, v vector) {
		decoded, err := Decode(v.Envelope)
		if !errors.Is(err, ErrUndecodable) || !strings.Contains(err.Error(), v.Error) {
			t.Errorf("%v, want ErrUndecodable with %q", err, v.Error)
		}
		requireEqual(t, "message", decoded, v.Message)
	})
}

// JSON cannot hold it, so it is no vector.
func TestDecodeIDThatIsNoText(t *testing.T) {
	for _, id := range []string{"\xff", "a\x00b", ""} {
		if _, err := Decode(Envelope{MessageID: id}); !errors.Is(err, ErrUndecodable) {
			t.Errorf("%q: %v, want ErrUndecodable", id, err)
		}
	}
}

// An hour of another zone is the same moment; the headers say it in UTC.
func TestEncodeIsIndependentOfZones(t *testing.T) {
	at := time.Date(2026, 3, 1, 13, 0, 0, 5, time.FixedZone("CET", 3600))
	e := Encode(Message{ID: "1", OccurredAt: at}, Exchange)
	if e.Headers[HeaderOccurredAt] != "2026-03-01T12:00:00.000000005Z" || e.Timestamp.Nanosecond() != 0 || !e.Timestamp.Equal(at.Truncate(time.Second)) {
		t.Errorf("header %v, timestamp %v", e.Headers[HeaderOccurredAt], e.Timestamp)
	}
}

// A producer's header never stands in for one of the contract.
func TestEncodeContractWins(t *testing.T) {
	e := Encode(Message{ID: "1", Topic: "t", Headers: map[string]string{HeaderTopic: "other"}}, Exchange)
	if e.Headers[HeaderTopic] != "t" {
		t.Errorf("%v, want t", e.Headers[HeaderTopic])
	}
}

func TestReservedHeader(t *testing.T) {
	for _, name := range []string{HeaderCorrelationID, HeaderCausationID, HeaderTopic, HeaderSeq, HeaderReason, "pulse-anything",
		"CC", "BCC", "x-death", "x-first-death-queue", "x-last-death-reason", "x-delivery-count", "x-acquired-count"} {
		if !ReservedHeader(name) {
			t.Errorf("%s is not reserved", name)
		}
	}
	for _, name := range []string{HeaderTraceParent, HeaderTraceState, "tenant", "x-own", "cc", "pulse", ""} {
		if ReservedHeader(name) {
			t.Errorf("%s is reserved", name)
		}
	}
}

func TestScalarsOfAMQP(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	m, err := Decode(Envelope{MessageID: "1", Headers: map[string]any{
		"bool": true, "int8": int8(-1), "int16": int16(2), "int32": int32(3), "int64": int64(4), "uint8": uint8(5), "float": 1.5,
		"bytes": []byte("b"), "time": at, "nil": nil, "list": []any{1}, HeaderSeq: int32(7),
	}})
	if err != nil || m.Seq != 7 {
		t.Fatalf("%+v, %v", m, err)
	}
	requireEqual(t, "headers", m.Headers, map[string]string{"bool": "true", "int8": "-1", "int16": "2", "int32": "3", "int64": "4",
		"uint8": "5", "float": "1.5", "bytes": "b", "time": "2026-03-01T12:00:00Z"})
}
