package wire

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Table is a field table. Its values are bool, int8, uint8, int16, uint16, int32, uint32, int64, uint64, float32,
// float64, [Decimal], string, []byte, time.Time (whole seconds), []any, Table and nil.
type Table map[string]any

// Decimal is a decimal field: Value times ten to the power of minus Scale.
type Decimal struct {
	Scale uint8
	Value int32
}

// maxDepth limits the nesting of tables and arrays, so that no message can
// overflow the stack.
const maxDepth = 32

// DecodeTable reads the entries of a table, without the length that precedes them.
func DecodeTable(b []byte) (Table, error) {
	c := coder{buf: b, reading: true}
	t := c.entries(0)
	return t, c.err
}

func (c *coder) entries(depth int) Table {
	if depth > maxDepth {
		c.fail("tables nested more than %d deep", maxDepth)
		return nil
	}
	t := make(Table)
	for len(c.buf) > 0 {
		var key string
		c.shortstr(&key)
		if v := c.value(depth); c.err == nil {
			t[key] = v
		}
	}
	return t
}

func (c *coder) value(depth int) any {
	kind := c.take(1)
	if kind == nil {
		return nil
	}
	switch kind[0] {
	case 'F':
		nested := coder{buf: c.block(), reading: true}
		t := nested.entries(depth + 1)
		c.adopt(nested.err)
		return t
	case 'A':
		nested := coder{buf: c.block(), reading: true}
		if depth >= maxDepth {
			c.fail("arrays nested more than %d deep", maxDepth)
			return nil
		}
		values := []any{}
		for len(nested.buf) > 0 {
			values = append(values, nested.value(depth+1))
		}
		c.adopt(nested.err)
		return values
	case 'S':
		return string(c.block())
	case 'x':
		return slices.Clone(c.block())
	case 'V':
		return nil
	}
	size := scalarSize(kind[0])
	if size == 0 {
		c.fail("unknown field type %q", kind[0])
		return nil
	}
	b := c.take(size)
	if b == nil {
		return nil
	}
	return scalar(kind[0], b)
}

// adopt takes the error of a nested reader.
func (c *coder) adopt(err error) {
	if err != nil && c.err == nil {
		c.err = err
		c.buf = nil
	}
}

func scalarSize(kind byte) int {
	switch kind {
	case 't', 'b', 'B':
		return 1
	case 's', 'u':
		return 2
	case 'I', 'i', 'f':
		return 4
	case 'D':
		return 5
	case 'l', 'L', 'd', 'T':
		return 8
	}
	return 0
}

func scalar(kind byte, b []byte) any {
	switch kind {
	case 't':
		return b[0] != 0
	case 'b':
		return int8(b[0])
	case 'B':
		return b[0]
	case 's':
		return int16(binary.BigEndian.Uint16(b))
	case 'u':
		return binary.BigEndian.Uint16(b)
	case 'I':
		return int32(binary.BigEndian.Uint32(b))
	case 'i':
		return binary.BigEndian.Uint32(b)
	case 'l':
		return int64(binary.BigEndian.Uint64(b))
	case 'L':
		return binary.BigEndian.Uint64(b)
	case 'f':
		return math.Float32frombits(binary.BigEndian.Uint32(b))
	case 'd':
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	case 'D':
		return Decimal{Scale: b[0], Value: int32(binary.BigEndian.Uint32(b[1:]))}
	default: // 'T'
		return time.Unix(int64(binary.BigEndian.Uint64(b)), 0)
	}
}

// AppendTable appends a table with its length, entries sorted by key. It panics
// on a value of a type that a table cannot hold, which is a bug in this
// program.
func AppendTable(dst []byte, t Table) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	for _, key := range slices.Sorted(maps.Keys(t)) {
		dst = append(append(dst, byte(len(key))), key...)
		dst = appendValue(dst, t[key])
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

func appendValue(dst []byte, value any) []byte {
	be := binary.BigEndian
	switch v := value.(type) {
	case nil:
		return append(dst, 'V')
	case bool:
		if v {
			return append(dst, 't', 1)
		}
		return append(dst, 't', 0)
	case int8:
		return append(dst, 'b', byte(v))
	case uint8:
		return append(dst, 'B', v)
	case int16:
		return be.AppendUint16(append(dst, 's'), uint16(v))
	case uint16:
		return be.AppendUint16(append(dst, 'u'), v)
	case int32:
		return be.AppendUint32(append(dst, 'I'), uint32(v))
	case uint32:
		return be.AppendUint32(append(dst, 'i'), v)
	case int64:
		return be.AppendUint64(append(dst, 'l'), uint64(v))
	case uint64:
		return be.AppendUint64(append(dst, 'L'), v)
	case float32:
		return be.AppendUint32(append(dst, 'f'), math.Float32bits(v))
	case float64:
		return be.AppendUint64(append(dst, 'd'), math.Float64bits(v))
	case Decimal:
		return be.AppendUint32(append(dst, 'D', v.Scale), uint32(v.Value))
	case string:
		return append(be.AppendUint32(append(dst, 'S'), uint32(len(v))), v...)
	case []byte:
		return append(be.AppendUint32(append(dst, 'x'), uint32(len(v))), v...)
	case time.Time:
		return be.AppendUint64(append(dst, 'T'), uint64(v.Unix()))
	case Table:
		return AppendTable(append(dst, 'F'), v)
	case []any:
		start := len(dst) + 1
		dst = append(dst, 'A', 0, 0, 0, 0)
		for _, element := range v {
			dst = appendValue(dst, element)
		}
		be.PutUint32(dst[start:], uint32(len(dst)-start-4))
		return dst
	default:
		panic(fmt.Sprintf("wire: no field type for %T", value))
	}
}
