package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
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

// Bounds of what an error repeats of a request.
const (
	maxFields    = 20
	maxFieldName = 64 // bytes
)

// retryAfter is how many seconds a client should wait after a 503.
const retryAfter = "1"

// WriteError answers with e. However much was wrong, the answer is small.
func WriteError(w http.ResponseWriter, e *Error) {
	if e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	shown := *e
	shown.Fields = make([]FieldError, 0, min(len(e.Fields), maxFields)) // one shape: always an array
	for _, f := range e.Fields {
		if len(shown.Fields) == maxFields {
			shown.Message += fmt.Sprintf("; and %d more", len(e.Fields)-maxFields)
			break
		}
		shown.Fields = append(shown.Fields, FieldError{Field: shortened(f.Field), Message: f.Message})
	}
	// Cannot fail: there are only texts in it.
	_ = Write(w, e.Status, map[string]*Error{"error": &shown})
}

// shortened keeps a name that the client has made up within bounds.
func shortened(name string) string {
	if len(name) <= maxFieldName {
		return name
	}
	return strings.ToValidUTF8(name[:maxFieldName], "") + "…"
}
