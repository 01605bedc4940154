package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Write answers with body as JSON. It encodes before it writes, so that an
// error still finds the answer unwritten. A client that is gone is nobody's
// error.
func Write(w http.ResponseWriter, status int, body any) error {
	return write(w, status, "application/json", body)
}

func write(w http.ResponseWriter, status int, contentType string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
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

// retryAfter is how long a client should wait after a 503.
const retryAfter = time.Second

// problem is a problem document, RFC 9457.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Error  *Error `json:"error"`
}

// WriteError answers with e. However much was wrong, the answer is small.
func WriteError(w http.ResponseWriter, e *Error) {
	wait := e.RetryAfter
	if e.Status == http.StatusServiceUnavailable {
		wait = cmp.Or(wait, retryAfter)
	}
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64(math.Ceil(wait.Seconds())), 10))
	}
	if e.Challenge != "" {
		w.Header().Set("WWW-Authenticate", e.Challenge)
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
	if e.Problem {
		_ = write(w, e.Status, "application/problem+json", problem{"about:blank", http.StatusText(e.Status), e.Status, shown.Message, &shown})
		return
	}
	_ = Write(w, e.Status, map[string]*Error{"error": &shown})
}

// shortened keeps a name that the client has made up within bounds.
func shortened(name string) string {
	if len(name) <= maxFieldName {
		return name
	}
	return strings.ToValidUTF8(name[:maxFieldName], "") + "…"
}
