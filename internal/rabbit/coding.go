package rabbit

import (
	"fmt"
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
	for _, f := range []struct{ name, value string }{{"exchange", p.Exchange}, {"routing key", p.Key}} {
		if len(f.value) > maxShortString {
			return tooLong(f.name, f.value)
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
			return tooLong(f.name, f.value)
		}
		if f.value != "" {
			size += 1 + len(f.value)
		}
	}
	headers, err := tableSize(p.Headers)
	if err != nil {
		return &UncodableError{err.Error()}
	}
	if size += headers; frameMax > 0 && size > frameMax-frameOverhead {
		return &UncodableError{fmt.Sprintf("headers and properties take %d bytes, and one frame of this broker holds %d", size, frameMax-frameOverhead)}
	}
	return nil
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
