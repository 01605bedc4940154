package rabbit

import (
	"fmt"
	"math"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	maxShortString = 255
	frameOverhead  = 8 // type, channel, size and end mark
)

// checkCodable returns an *UncodableError where p does not fit AMQP's types or
// its content header one frame. The library would find some of this out while
// it writes, and give up the connection; the broker would find the rest.
func checkCodable(p *Publishing, frameMax int) error {
	room, err := HeaderRoom(p, frameMax)
	if err == nil && room < 0 {
		held := frameMax - frameOverhead
		err = &UncodableError{fmt.Sprintf("headers and properties take %d bytes, and one frame of this broker holds %d", held-room, held)}
	}
	return err
}

// HeaderRoom returns how many bytes more the content header of p could have in
// one frame of the given size; negative: how many it has too many. The error
// is an *UncodableError where p does not fit AMQP's types.
func HeaderRoom(p *Publishing, frameMax int) (int, error) {
	for _, f := range []struct{ name, value string }{{"exchange", p.Exchange}, {"routing key", p.Key}} {
		if len(f.value) > maxShortString {
			return 0, tooLong(f.name, f.value)
		}
	}
	const fixed = 2 + 2 + 8 + 2 + // class, weight, body size, property flags
		1 + 1 + 8 // delivery mode, priority, timestamp
	size := fixed
	for _, f := range []struct{ name, value string }{
		{"content type", p.ContentType}, {"content encoding", p.ContentEncoding},
		{"correlation id", p.CorrelationId}, {"reply to", p.ReplyTo}, {"expiration", p.Expiration},
		{"message id", p.MessageId}, {"type", p.Type}, {"user id", p.UserId}, {"app id", p.AppId},
	} {
		if len(f.value) > maxShortString {
			return 0, tooLong(f.name, f.value)
		}
		if f.value != "" {
			size += 1 + len(f.value)
		}
	}
	headers, err := tableSize(p.Headers)
	if err != nil {
		return 0, &UncodableError{err.Error()}
	}
	if frameMax <= 0 {
		return math.MaxInt32, nil
	}
	return frameMax - frameOverhead - size - headers, nil
}

// HeaderSize returns the encoded size of one header, 0 for a value that has
// none.
func HeaderSize(name string, value any) int {
	size, err := fieldSize(value)
	if err != nil {
		return 0
	}
	return 1 + len(name) + size
}

// DeliverySize is about how much memory a delivery takes.
func DeliverySize(d *amqp.Delivery) int {
	headers, err := tableSize(d.Headers)
	if err != nil {
		headers = 0 // as good as any number for what no frame could hold
	}
	return len(d.Body) + headers + 512
}

func tooLong(name, value string) error {
	return &UncodableError{fmt.Sprintf("%s has %d bytes, at most %d are possible", name, len(value), maxShortString)}
}

// tableSize is the encoded size of t.
func tableSize(t amqp.Table) (int, error) {
	size := 4
	for name, value := range t {
		if len(name) > maxShortString {
			return 0, fmt.Errorf("header %.20q… has a name of %d bytes, at most %d are possible", name, len(name), maxShortString)
		}
		n, err := fieldSize(value)
		if err != nil {
			return 0, fmt.Errorf("header %q: %w", name, err)
		}
		size += 1 + len(name) + n
	}
	return size, nil
}

// fieldSize is the encoded size of a value of a table, its type mark included.
func fieldSize(value any) (int, error) {
	switch v := value.(type) {
	case nil:
		return 1, nil
	case bool, byte, int8:
		return 2, nil
	case int16, uint16:
		return 3, nil
	case int, int32, uint32, float32:
		return 5, nil
	case amqp.Decimal:
		return 6, nil
	case int64, float64, time.Time:
		return 9, nil
	case string:
		return 5 + len(v), nil
	case []byte:
		return 5 + len(v), nil
	case amqp.Table:
		size, err := tableSize(v)
		return 1 + size, err
	case []any:
		size := 5
		for _, element := range v {
			n, err := fieldSize(element)
			if err != nil {
				return 0, err
			}
			size += n
		}
		return size, nil
	}
	return 0, fmt.Errorf("AMQP has no type for a %T", value)
}
