package exampletest

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Ask sends one request and returns status and body.
func Ask(t *testing.T, method, url, body string, headers ...string) (int, []byte) {
	t.Helper()
	res, text := Exchange(t, method, url, body, headers...)
	return res.StatusCode, text
}

// Exchange sends one request; headers are names and values in turn.
func Exchange(t *testing.T, method, url, body string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if req.Header.Add(headers[i], headers[i+1]); headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: Patience}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return res, text
}

// Decode reads JSON.
func Decode[T any](t *testing.T, text []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

type failure struct {
	Error *struct {
		Code, Message string
		Fields        []struct{ Field, Message string }
	}
}

// Refused checks the one shape of errors and returns code and fields.
func Refused(t *testing.T, about string, res *http.Response, body []byte, status int) (code string, fields []string) {
	t.Helper()
	f := Decode[failure](t, body)
	if res.StatusCode != status || f.Error == nil || f.Error.Code == "" || f.Error.Message == "" || f.Error.Fields == nil {
		t.Fatalf("%s: %d %s, want %d and an error with code, message and fields", about, res.StatusCode, body, status)
	}
	if got := res.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("%s: content type %q", about, got)
	}
	if res.Header.Get("x-correlation-id") == "" {
		t.Errorf("%s: no correlation id", about)
	}
	for _, field := range f.Error.Fields {
		fields = append(fields, field.Field)
	}
	slices.Sort(fields)
	return f.Error.Code, fields
}
