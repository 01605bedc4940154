package api

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// Write answers with body as JSON. It encodes before it writes, so that an
// error still finds the answer unwritten. A client that is gone is nobody's
// error.
func Write(w http.ResponseWriter, status int, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
	return nil
}

// WriteError answers with e.
func WriteError(w http.ResponseWriter, e *Error) {
	if e.Fields == nil {
		e.Fields = []FieldError{} // one shape: always an array
	}
	// Cannot fail: there are only texts in it.
	_ = Write(w, e.Status, map[string]*Error{"error": e})
}
