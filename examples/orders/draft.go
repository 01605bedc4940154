package orders

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/asimalizada/pulse-events/examples/money"
)

// MaxCustomerID is the longest customer id in characters.
const MaxCustomerID = 128

// Draft is an order as a customer asks for it.
type Draft struct {
	CustomerID string
	Amount     money.Amount
}

// FieldError says what is wrong with one field.
type FieldError struct {
	Field   string
	Message string
}

// InvalidError names every bad field of a draft.
type InvalidError struct{ Fields []FieldError }

func (e *InvalidError) Error() string {
	problems := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		problems[i] = f.Field + " " + f.Message
	}
	return "invalid order: " + strings.Join(problems, "; ")
}

// ErrMalformed says that the text is not one JSON object.
var ErrMalformed = errors.New("malformed JSON")

// ParseDraft reads {"customerId": text, "amount": number}. The error is an
// *InvalidError that names every bad, missing, unknown or repeated field, or
// matches ErrMalformed.
func ParseDraft(body []byte) (Draft, error) {
	members, err := parseObject(body)
	if err != nil {
		return Draft{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var (
		draft   Draft
		invalid InvalidError
		seen    = make(map[string]bool)
	)
	bad := func(field, message string) {
		invalid.Fields = append(invalid.Fields, FieldError{field, message})
	}
	for _, m := range members {
		if seen[m.name] {
			bad(m.name, "is given twice")
			continue
		}
		seen[m.name] = true
		switch m.name {
		case "customerId":
			if draft.CustomerID, err = parseCustomerID(m.value); err != nil {
				bad(m.name, err.Error())
			}
		case "amount":
			if draft.Amount, err = money.Parse(string(m.value)); err != nil {
				bad(m.name, err.Error())
			}
		default:
			bad(m.name, "is not a field of an order; known are customerId and amount")
		}
	}
	for _, name := range []string{"customerId", "amount"} {
		if !seen[name] {
			bad(name, "is required")
		}
	}
	if invalid.Fields != nil {
		return Draft{}, &invalid
	}
	return draft, nil
}

func parseCustomerID(value json.RawMessage) (string, error) {
	if value[0] != '"' {
		return "", errors.New("must be text")
	}
	var id string
	if err := json.Unmarshal(value, &id); err != nil {
		return "", errors.New("must be text")
	}
	switch {
	case strings.TrimSpace(id) == "":
		return "", errors.New("must not be blank")
	case strings.TrimSpace(id) != id:
		return "", errors.New("must not begin or end with white space")
	case utf8.RuneCountInString(id) > MaxCustomerID:
		return "", fmt.Errorf("must have at most %d characters", MaxCustomerID)
	case strings.ContainsFunc(id, unicode.IsControl):
		return "", errors.New("must not hold control characters")
	}
	return id, nil
}

type member struct {
	name  string
	value json.RawMessage
}

// parseObject returns the members of the one JSON object in body, in their
// order. Decoding into a struct would stop at the first bad field, match names
// regardless of case, and let a repeated name win in silence.
func parseObject(body []byte) ([]member, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, errors.New("the body is empty")
	}
	if !utf8.Valid(body) {
		return nil, errors.New("not UTF-8")
	}
	if err := loneSurrogate(body); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if start, err := dec.Token(); err != nil {
		return nil, explain(err)
	} else if start != json.Delim('{') {
		return nil, errors.New("a JSON object is expected")
	}
	var members []member
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, explain(err)
		}
		var m member
		m.name, _ = name.(string) // the decoder lets nothing else stand there
		if err := dec.Decode(&m.value); err != nil {
			return nil, explain(err)
		}
		members = append(members, m)
	}
	if _, err := dec.Token(); err != nil {
		return nil, explain(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON object")
	}
	return members, nil
}

// loneSurrogate finds an escape that is half a character, such as \ud800 without
// its other half. It stands for no text, and the decoder would put U+FFFD in its
// place, so that different texts become one. A backslash can be nowhere but in
// a string; where it is, the decoder complains.
func loneSurrogate(body []byte) error {
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		i++ // what is escaped, be it a backslash
		unit, ok := escapedUnit(body[min(i, len(body)):])
		if !ok || !utf16.IsSurrogate(unit) {
			continue
		}
		other, _ := escapedUnit(body[min(i+6, len(body)):])
		if at := i + 5; at >= len(body) || body[at] != '\\' || utf16.DecodeRune(unit, other) == unicode.ReplacementChar {
			return fmt.Errorf("the escape \\u%04x is half a character", unit)
		}
		i += 10 // past both
	}
	return nil
}

// escapedUnit reads uXXXX.
func escapedUnit(text []byte) (unit rune, ok bool) {
	if len(text) < 5 || text[0] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[1:5]), 16, 16)
	return rune(n), err == nil
}

func explain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends too early")
	}
	return err
}
