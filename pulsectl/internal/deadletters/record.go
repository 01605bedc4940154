package deadletters

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Record is a letter as files hold it, one JSON object a line: everything that AMQP
// carries, types of headers included, so that it can be published again as it
// was. docs/cli-json.md describes it.
type Record struct {
	Queue      string           `json:"queue"` // the dead-letter queue
	ID         string           `json:"id"`    // Letter.Ref
	Reason     string           `json:"reason,omitempty"`
	Error      string           `json:"error,omitempty"`
	Discarded  *Discarded       `json:"discarded,omitempty"`
	Exchange   RecordText       `json:"exchange,omitempty"`
	RoutingKey RecordText       `json:"routingKey,omitempty"`
	Properties RecordProperties `json:"properties"`
	Headers    RecordHeaders    `json:"headers"`
	Body       RecordBody       `json:"body"`
}

// Discarded says why a letter was discarded.
type Discarded struct {
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	By     string    `json:"by,omitempty"`
}

// RecordProperties are the properties of AMQP.
type RecordProperties struct {
	MessageID       RecordText `json:"messageId,omitempty"`
	Type            RecordText `json:"type,omitempty"`
	CorrelationID   RecordText `json:"correlationId,omitempty"`
	ReplyTo         RecordText `json:"replyTo,omitempty"`
	ContentType     RecordText `json:"contentType,omitempty"`
	ContentEncoding RecordText `json:"contentEncoding,omitempty"`
	AppID           RecordText `json:"appId,omitempty"`
	UserID          RecordText `json:"userId,omitempty"`
	Expiration      RecordText `json:"expiration,omitempty"`
	Priority        uint8      `json:"priority,omitempty"`
	DeliveryMode    uint8      `json:"deliveryMode,omitempty"`
	Timestamp       *time.Time `json:"timestamp,omitempty"` // in whole seconds
}

// RecordText is a text of AMQP: a string, or {"string": base64} where it is no UTF-8.
type RecordText string

// MarshalJSON implements json.Marshaler.
func (t RecordText) MarshalJSON() ([]byte, error) { return marshalField(string(t)) }

// UnmarshalJSON implements json.Unmarshaler.
func (t *RecordText) UnmarshalJSON(data []byte) error {
	value, err := unmarshalField(data)
	if err != nil {
		return err
	}
	text, ok := value.(string)
	if *t = RecordText(text); !ok {
		return fmt.Errorf("%s is no text", data)
	}
	return nil
}

// newRecord makes the record of a letter.
func newRecord(d *Detail) Record {
	raw := d.Raw
	r := Record{
		Queue: d.Queue, ID: d.Ref, Reason: d.Reason, Error: d.Error, Exchange: RecordText(raw.Exchange), RoutingKey: RecordText(raw.RoutingKey),
		Properties: RecordProperties{
			MessageID: RecordText(raw.MessageID), Type: RecordText(raw.Type), CorrelationID: RecordText(raw.CorrelationID), ReplyTo: RecordText(raw.ReplyTo), ContentType: RecordText(raw.ContentType),
			ContentEncoding: RecordText(raw.ContentEncoding), AppID: RecordText(raw.AppID), UserID: RecordText(raw.UserID), Expiration: RecordText(raw.Expiration), Priority: raw.Priority,
			DeliveryMode: raw.DeliveryMode,
		},
		Headers: make(RecordHeaders, len(raw.Headers)), Body: raw.Body,
	}
	if !raw.Timestamp.IsZero() {
		at := raw.Timestamp.UTC()
		r.Properties.Timestamp = &at
	}
	for name, value := range raw.Headers {
		if name != "x-delivery-count" && name != "x-acquired-count" { // the queue counts anew
			r.Headers[name] = value
		}
	}
	return r
}

// publishing is the message of which it is the record.
func (r *Record) publishing() amqp.Publishing {
	in := r.Properties
	p := amqp.Publishing{
		MessageId: string(in.MessageID), Type: string(in.Type), CorrelationId: string(in.CorrelationID), ReplyTo: string(in.ReplyTo), ContentType: string(in.ContentType),
		ContentEncoding: string(in.ContentEncoding), AppId: string(in.AppID), UserId: string(in.UserID), Expiration: string(in.Expiration), Priority: in.Priority,
		DeliveryMode: in.DeliveryMode, Headers: amqp.Table(r.Headers), Body: r.Body,
	}
	if in.Timestamp != nil {
		p.Timestamp = *in.Timestamp
	}
	return p
}

// RecordBody is a body: {"text": ...} where it is UTF-8, else {"base64": ...}.
type RecordBody []byte

type bodyJSON struct {
	Text   *string `json:"text,omitempty"`
	Base64 []byte  `json:"base64,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (b RecordBody) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		text := string(b)
		return marshal(bodyJSON{Text: &text})
	}
	return marshal(bodyJSON{Base64: b})
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *RecordBody) UnmarshalJSON(data []byte) error {
	var in bodyJSON
	if err := strict(data, &in); err != nil {
		return err
	}
	switch {
	case in.Text != nil && in.Base64 != nil:
		return errors.New("body has text and base64")
	case in.Text != nil:
		*b = []byte(*in.Text)
	default:
		*b = in.Base64
	}
	return nil
}

// RecordHeaders are headers. A string, a bool and no value are themselves in JSON, what else AMQP
// has is an object whose key is the type: {"int64": 3}.
type RecordHeaders map[string]any

// MarshalJSON implements json.Marshaler.
func (h RecordHeaders) MarshalJSON() ([]byte, error) { return marshalTable(amqp.Table(h)) }

// UnmarshalJSON implements json.Unmarshaler.
func (h *RecordHeaders) UnmarshalJSON(data []byte) error {
	table, err := unmarshalTable(data)
	*h = RecordHeaders(table)
	return err
}

// encodedName begins the names of headers that are no UTF-8, and are in base64.
const encodedName = "base64:"

func marshalTable(t map[string]any) ([]byte, error) {
	out := []byte{'{'}
	for i, name := range slices.Sorted(maps.Keys(t)) {
		if i > 0 {
			out = append(out, ',')
		}
		written := name
		if !utf8.ValidString(name) || strings.HasPrefix(name, encodedName) {
			written = encodedName + base64.StdEncoding.EncodeToString([]byte(name))
		}
		key, err := marshal(written)
		if err != nil {
			return nil, err
		}
		value, err := marshalField(t[name])
		if err != nil {
			return nil, fmt.Errorf("header %q: %w", name, err)
		}
		out = append(append(append(out, key...), ':'), value...)
	}
	return append(out, '}'), nil
}

func marshalField(value any) ([]byte, error) {
	one := func(kind string, v any) ([]byte, error) { return marshal(map[string]any{kind: v}) }
	switch v := value.(type) {
	case nil, bool:
		return marshal(v)
	case string:
		if !utf8.ValidString(v) {
			return one("string", base64.StdEncoding.EncodeToString([]byte(v)))
		}
		return marshal(v)
	case []byte:
		return one("bytes", base64.StdEncoding.EncodeToString(v))
	case int8, uint8, int16, uint16, int32, uint32, int64:
		return one(fmt.Sprintf("%T", v), v)
	case int:
		return one("int32", v) // as it is sent
	case float32:
		return one("float32", strconv.FormatFloat(float64(v), 'g', -1, 32))
	case float64:
		return one("float64", strconv.FormatFloat(v, 'g', -1, 64))
	case amqp.Decimal:
		return one("decimal", []int64{int64(v.Scale), int64(v.Value)})
	case time.Time:
		return one("time", v.UTC().Format(time.RFC3339))
	case amqp.Table:
		inner, err := marshalTable(v)
		return append(append([]byte(`{"table":`), inner...), '}'), err
	case []any:
		out := []byte(`{"array":[`)
		for i, each := range v {
			inner, err := marshalField(each)
			if err != nil {
				return nil, err
			}
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, inner...)
		}
		return append(out, "]}"...), nil
	}
	return nil, fmt.Errorf("a %T has no form", value)
}

func unmarshalTable(data []byte) (map[string]any, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, err
	}
	table := make(map[string]any, len(raw))
	for name, value := range raw {
		v, err := unmarshalField(value)
		if err != nil {
			return nil, fmt.Errorf("header %q: %w", name, err)
		}
		if text, encoded := strings.CutPrefix(name, encodedName); encoded {
			plain, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return nil, fmt.Errorf("header %q: %w", name, err)
			}
			name = string(plain)
		}
		table[name] = v
	}
	return table, nil
}

func unmarshalField(data json.RawMessage) (any, error) {
	switch data = bytes.TrimSpace(data); data[0] {
	case '{':
	case '[':
		return nil, errors.New(`a list is {"array": [...]}`)
	case '"', 't', 'f', 'n':
		var v any
		err := json.Unmarshal(data, &v)
		return v, err
	default:
		return nil, fmt.Errorf("the number %s has no type: write it as {\"int64\": %s}", data, data)
	}
	var typed map[string]json.RawMessage
	if err := json.Unmarshal(data, &typed); err != nil {
		return nil, err
	}
	if len(typed) != 1 {
		return nil, errors.New("a value with a type is an object with one key")
	}
	for kind, value := range typed {
		v, err := unmarshalKind(kind, value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		return v, nil
	}
	return nil, nil
}

func unmarshalKind(kind string, data json.RawMessage) (any, error) {
	switch kind {
	case "int8":
		return decoded[int8](data)
	case "uint8":
		return decoded[uint8](data)
	case "int16":
		return decoded[int16](data)
	case "uint16":
		return decoded[uint16](data)
	case "int32":
		return decoded[int32](data)
	case "uint32":
		return decoded[uint32](data)
	case "int64":
		return decoded[int64](data)
	case "string":
		b, err := decoded[[]byte](data)
		raw, _ := b.([]byte)
		return string(raw), err
	case "bytes":
		return decoded[[]byte](data)
	case "float32", "float64":
		text, err := decoded[string](data)
		if err != nil {
			return nil, err
		}
		if kind == "float32" {
			f, err := strconv.ParseFloat(text.(string), 32)
			return float32(f), err
		}
		return strconv.ParseFloat(text.(string), 64)
	case "decimal":
		parts, err := decoded[[]int64](data)
		if err != nil {
			return nil, err
		}
		if p := parts.([]int64); len(p) == 2 && p[0] >= 0 && p[0] <= math.MaxUint8 && p[1] >= math.MinInt32 && p[1] <= math.MaxInt32 {
			return amqp.Decimal{Scale: uint8(p[0]), Value: int32(p[1])}, nil
		}
		return nil, errors.New("is [scale, value]")
	case "time":
		text, err := decoded[string](data)
		if err != nil {
			return nil, err
		}
		return time.Parse(time.RFC3339, text.(string))
	case "table":
		table, err := unmarshalTable(data)
		return amqp.Table(table), err
	case "array":
		var raw []json.RawMessage
		if err := json.Unmarshal(data, &raw); err != nil {
			return nil, err
		}
		list := make([]any, len(raw))
		for i, each := range raw {
			var err error
			if list[i], err = unmarshalField(each); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return nil, errors.New("unknown type")
}

// decoded reads JSON as a T, or returns an error.
func decoded[T any](data json.RawMessage) (any, error) {
	var v T
	err := json.Unmarshal(data, &v)
	return v, err
}

// marshal is json.Marshal that leaves <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// strict reads JSON in which no unknown field is.
func strict(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}
