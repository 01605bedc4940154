package devbroker

import (
	"reflect"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// integer returns the value of an integer field of any width.
func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int8:
		return int64(n), true
	case uint8:
		return int64(n), true
	case int16:
		return int64(n), true
	case uint16:
		return int64(n), true
	case int32:
		return int64(n), true
	case uint32:
		return int64(n), true
	case int64:
		return n, true
	case uint64:
		return int64(min(n, 1<<63-1)), true
	}
	return 0, false
}

// sameField reports whether two fields are equal for RabbitMQ: the width of
// integers does not matter.
func sameField(a, b any) bool {
	if x, ok := integer(a); ok {
		y, ok := integer(b)
		return ok && x == y
	}
	if x, ok := a.(time.Time); ok {
		y, ok := b.(time.Time)
		return ok && x.Equal(y)
	}
	return reflect.DeepEqual(a, b)
}

// fieldClass groups the types whose values can be compared.
func fieldClass(v any) string {
	if _, ok := integer(v); ok {
		return "int"
	}
	switch v.(type) {
	case float32, float64, wire.Decimal:
		return "float"
	}
	return fieldType(v)
}

// fieldType returns RabbitMQ's name for the type of a field.
func fieldType(v any) string {
	switch v.(type) {
	case bool:
		return "bool"
	case int8:
		return "byte"
	case uint8:
		return "unsignedbyte"
	case int16:
		return "short"
	case uint16:
		return "unsignedshort"
	case int32:
		return "signedint"
	case uint32:
		return "unsignedint"
	case int64, uint64:
		return "long"
	case float32:
		return "float"
	case float64:
		return "double"
	case wire.Decimal:
		return "decimal"
	case string:
		return "longstr"
	case []byte:
		return "binary"
	case time.Time:
		return "timestamp"
	case []any:
		return "array"
	case wire.Table:
		return "table"
	}
	return "void"
}
