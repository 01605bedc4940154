package messages

import (
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"
)

// Payload returns a body in its own form: JSON as JSON, text as text, anything
// else as {"base64": ...}.
func Payload(body []byte) any {
	switch {
	case json.Valid(body):
		return json.RawMessage(body)
	case utf8.Valid(body):
		return string(body)
	}
	raw, _ := json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(body)})
	return json.RawMessage(raw)
}
