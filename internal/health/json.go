package health

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"
	"unicode"
)

// Marshal encodes the exported fields of a struct, in their order, as readable
// JSON: names begin with a small letter; a time.Duration is a number of seconds
// with Seconds at the end of its name; an error is its text; a time.Time is in
// RFC 3339 and UTC. Zero times, nil errors, nil pointers, empty lists and fields
// with the tag json:"-" are omitted. Nested structs, and lists of them, are
// encoded in the same way.
func Marshal(v any) ([]byte, error) {
	return marshal(v, everything{})
}

// audience decides which texts are shown.
type audience interface {
	text(error) string
	shows(field string) bool // shows reports whether to show a plain string, which may be the text of an error
}

// everything is the audience that may also read the log.
type everything struct{}

func (everything) text(err error) string { return err.Error() }
func (everything) shows(string) bool     { return true }

// strangers is the audience of health answers over HTTP. Plain strings are
// shown only if they are known to name nobody; a string with its own type, such
// as a state, is always shown.
type strangers struct{}

func (strangers) text(err error) string   { return Text(err) }
func (strangers) shows(field string) bool { return field == "Topic" }

func marshal(v any, to audience) ([]byte, error) {
	value := reflect.Indirect(reflect.ValueOf(v))
	if value.Kind() != reflect.Struct {
		return nil, fmt.Errorf("health: %T is not a struct", v)
	}
	var members []member
	for i := range value.NumField() {
		field := value.Type().Field(i)
		if !field.IsExported() || field.Tag.Get("json") == "-" {
			continue
		}
		m, shown, err := encode(field.Name, value.Field(i), to)
		if err != nil {
			return nil, err
		}
		if shown {
			members = append(members, m)
		}
	}
	return object(members)
}

// member is a name and a value of a JSON object.
type member struct {
	name  string
	value any
}

func encode(field string, value reflect.Value, to audience) (m member, shown bool, err error) {
	name := lowerFirst(field)
	switch v := value.Interface().(type) {
	case nil: // of an interface
		return m, false, nil
	case error:
		return member{name, to.text(v)}, true, nil
	case time.Time:
		return member{name, v.UTC().Format(time.RFC3339Nano)}, !v.IsZero(), nil
	case time.Duration:
		return member{name + "Seconds", v.Seconds()}, true, nil
	case string:
		return member{name, v}, to.shows(field), nil
	}
	switch value.Kind() {
	case reflect.Pointer:
		if value.IsNil() {
			return m, false, nil
		}
		return encode(field, value.Elem(), to)
	case reflect.Struct:
		raw, err := marshal(value.Interface(), to)
		return member{name, json.RawMessage(raw)}, true, err
	case reflect.Slice:
		switch elem := value.Type().Elem(); {
		case elem == reflect.TypeFor[string]():
			return member{name, value.Interface()}, value.Len() > 0 && to.shows(field), nil
		case elem.Kind() != reflect.Struct:
			return member{name, value.Interface()}, value.Len() > 0, nil
		}
		list := make([]json.RawMessage, value.Len())
		for i := range list {
			if list[i], err = marshal(value.Index(i).Interface(), to); err != nil {
				return m, false, err
			}
		}
		return member{name, list}, len(list) > 0, nil
	}
	return member{name, value.Interface()}, true, nil
}

// lowerFirst returns lastError for LastError, and id for ID.
func lowerFirst(s string) string {
	runes := []rune(s)
	for i := range runes {
		if i > 0 && i+1 < len(runes) && !unicode.IsUpper(runes[i+1]) || !unicode.IsUpper(runes[i]) {
			break
		}
		runes[i] = unicode.ToLower(runes[i])
	}
	return string(runes)
}

func object(members []member) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
