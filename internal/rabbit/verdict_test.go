package rabbit

import (
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestBlamed(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Blame
	}{
		{nil, BlameNobody},
		{ErrLost, BlameNobody},
		{&amqp.Error{Code: amqp.FrameError, Reason: "EOF"}, BlameNobody}, // the library's word for a broken connection
		{&amqp.Error{Code: amqp.FrameError, Reason: "frame_too_large", Server: true}, BlameMessage},
		{&amqp.Error{Code: amqp.PreconditionFailed, Server: true}, BlameMessage},
		{&amqp.Error{Code: amqp.ConnectionForced, Server: true}, BlameNobody},
		{&amqp.Error{Code: amqp.NotFound, Server: true}, BlameNobody},
		{&amqp.Error{Code: amqp.InternalError, Server: true}, BlameBroker},
		{&amqp.Error{Code: amqp.AccessRefused, Reason: "access to exchange 'x' refused", Server: true}, BlameNobody},
		{&amqp.Error{Code: amqp.AccessRefused, Reason: "write access to topic 't' in exchange 'x' refused", Server: true}, BlameAccess},
	} {
		if got := Blamed(&UnknownError{Cause: fmt.Errorf("wrapped: %w", errOr(c.err))}); got != c.want {
			t.Errorf("%v: got %d, want %d", c.err, got, c.want)
		}
	}
}

func errOr(err error) error {
	if err == nil {
		return ErrLost
	}
	return err
}

// The computed size is the broker's: what just fits is taken, and a little more
// makes the broker close the connection.
func TestLargestHeaders(t *testing.T) {
	url := testenv.RabbitMQ(t)
	everything := amqp.Table{
		"nil": nil, "bool": true, "byte": byte(1), "int8": int8(1), "int16": int16(1), "uint16": uint16(1), "int32": int32(1),
		"uint32": uint32(1), "float32": float32(1), "int64": int64(1), "float64": 1.0, "time": time.Now(), "decimal": amqp.Decimal{},
		"bytes": []byte("b"), "list": []any{"a", int64(1), amqp.Table{"b": "c"}}, "table": amqp.Table{"d": []any{}}, "fill": "",
	}
	p := Publishing{Key: testenv.UniqueName(t, "sizes"), Publishing: amqp.Publishing{
		ContentType: "a", ContentEncoding: "b", DeliveryMode: 2, Priority: 1, CorrelationId: "c", ReplyTo: "d", Expiration: "1000",
		MessageId: "e", Timestamp: time.Now(), Type: "f", AppId: "g", Headers: everything,
	}}
	conn := dial(t, url)
	if err := conn.EnsureQueue(t.Context(), Declare, Queue{Name: p.Key}); err != nil {
		t.Fatal(err)
	}
	frameMax := conn.Config.FrameSize
	for size := frameMax - 2000; ; size++ {
		everything["fill"] = strings.Repeat("x", size)
		if checkCodable(&p, frameMax) != nil {
			everything["fill"] = strings.Repeat("x", size-1)
			break
		}
	}
	if err := publishOne(t, conn, p); err != nil {
		t.Errorf("the largest possible headers did not arrive: %v", err)
	}
	everything["fill"] = everything["fill"].(string) + "x"
	if _, uncodable := publishOne(t, conn, p).(*UncodableError); !uncodable {
		t.Error("one byte more was sent")
	}
	conn.Config.FrameSize = 2 * frameMax                                                  // as if the broker had agreed to more
	everything["fill"] = everything["fill"].(string) + strings.Repeat("x", frameOverhead) // which RabbitMQ forgives
	if err := publishOne(t, conn, p); Blamed(err) != BlameMessage {
		t.Errorf("a little more, sent: got %v, want the broker to close the connection over it", err)
	}
}

func TestUncodable(t *testing.T) {
	long := strings.Repeat("x", 256)
	for name, p := range map[string]Publishing{
		"routing key":     {Key: long},
		"exchange":        {Exchange: long},
		"message id":      {Publishing: amqp.Publishing{MessageId: long}},
		"app id":          {Publishing: amqp.Publishing{AppId: long}},
		"name of 256":     {Publishing: amqp.Publishing{Headers: amqp.Table{long: ""}}},
		"no type for":     {Publishing: amqp.Publishing{Headers: amqp.Table{"x": struct{}{}}}},
		"header \"deep\"": {Publishing: amqp.Publishing{Headers: amqp.Table{"deep": []any{amqp.Table{long: ""}}}}},
	} {
		if err := checkCodable(&p, 131072); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v does not name it", name, err)
		}
	}
}

func dial(t *testing.T, url string) *Conn {
	t.Helper()
	conn, err := Dial(t.Context(), Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func publishOne(t *testing.T, conn *Conn, p Publishing) error {
	t.Helper()
	f, err := conn.Confirmer(t.Context(), ConfirmerConfig{Window: 1, Stall: 30 * time.Second, BlockLimit: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return f.Publish(t.Context(), []Publishing{p})[0]
}
