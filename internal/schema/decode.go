package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Limits of a document. They bound what decoding and validating cost: a number
// such as 1e999999999 has as many digits as it says once it is compared, and each
// value may become an error of its own.
const (
	MaxDepth  = 100
	MaxValues = 500_000
	maxDigits = 400 // of a number's text, and of its exponent's value
)

// LimitError says that a document exceeds a limit.
type LimitError struct{ Problem string }

func (e *LimitError) Error() string { return e.Problem }

// Decode reads one JSON document; numbers become json.Number. The error is a
// *LimitError where it is larger than allowed, else it names the byte.
func Decode(document []byte, maxBytes int) (any, error) {
	if len(document) > maxBytes {
		return nil, &LimitError{fmt.Sprintf("$: %d bytes, at most %d are checked", len(document), maxBytes)}
	}
	if err := withinLimits(document); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, fmt.Errorf("no JSON: %w (%s)", e, place(document, e.Offset))
		}
		return nil, fmt.Errorf("no JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("no JSON: text behind the document (%s)", place(document, decoder.InputOffset()))
	}
	return value, nil
}

// place returns line and column of an offset.
func place(document []byte, offset int64) string {
	before := document[:min(int(offset), len(document))]
	line := bytes.Count(before, []byte("\n")) + 1
	return fmt.Sprintf("line %d, column %d", line, max(1, len(before)-bytes.LastIndexByte(before, '\n')-1))
}

// withinLimits looks at depth, values and numbers before anything is built of
// them. What is no JSON is left to the decoder.
func withinLimits(document []byte) error {
	depth, values := 0, 1
	for i := 0; i < len(document); i++ {
		switch c := document[i]; c {
		case '"':
			for i++; i < len(document) && document[i] != '"'; i++ {
				if document[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			if depth++; depth > MaxDepth {
				return &LimitError{fmt.Sprintf("$: nested more than %d deep (byte %d)", MaxDepth, i)}
			}
			values++
		case '}', ']':
			depth--
		case ',':
			values++
		case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
			end := i + 1
			for end < len(document) && bytes.IndexByte([]byte("0123456789+-.eE"), document[end]) >= 0 {
				end++
			}
			if !modest(document[i:end]) {
				return &LimitError{fmt.Sprintf("$: the number %.20s... has more than %d digits (byte %d)", document[i:end], maxDigits, i)}
			}
			i = end - 1
		}
		if values > MaxValues {
			return &LimitError{fmt.Sprintf("$: more than %d values", MaxValues)}
		}
	}
	return nil
}

// modest reports whether a number is written and expanded in few digits.
func modest(number []byte) bool {
	if len(number) > maxDigits {
		return false
	}
	at := bytes.IndexAny(number, "eE")
	if at < 0 {
		return true
	}
	exponent, err := strconv.Atoi(string(number[at+1:]))
	return err == nil && -maxDigits <= exponent && exponent <= maxDigits || errors.Is(err, strconv.ErrSyntax)
}
