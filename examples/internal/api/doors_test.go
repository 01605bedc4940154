package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lib/pq"

	"github.com/asimalizada/pulse-events/outbox"
)

func TestHosts(t *testing.T) {
	allowed := []string{"orders.example.com", ".shop.example"}
	for host, want := range map[string]bool{
		"localhost:6101": true, "localhost": true, "LOCALHOST:1": true, "app.localhost:6101": true, "localhost.:80": true,
		"127.0.0.1:6101": true, "10.0.0.7": true, "[::1]:6101": true, "[::1]": true,
		"orders:6101": true, "orders-stdlib": true, // of a container or a Kubernetes service
		"orders.example.com": true, "ORDERS.example.com:443": true, "eu.shop.example:80": true,
		"evil.example": false, "evil.example:6101": false, "127.0.0.1.evil.example:6101": false, "localhost.evil.example": false,
		"orders.example.com.evil.example": false, "shop.example": false, "xorders.example.com": false, "evilshop.example": false,
	} {
		if got := hostAllowed(host, allowed); got != want {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
	}
	if !hostAllowed("evil.example", []string{"*"}) {
		t.Error("* does not stand for any")
	}
}

// What a browser sends for a page of another site is refused; what it sends for
// the service's own page, and what others send, is not.
func TestStrangersAreRefused(t *testing.T) {
	served := ServedOn(context.Background(), nil)
	for _, c := range []struct {
		about   string
		ctx     context.Context
		method  string
		host    string
		headers map[string]string
		want    string
	}{
		{"curl", served, "POST", "127.0.0.1:6101", nil, ""},
		{"a form of another site", served, "POST", "127.0.0.1:6101", map[string]string{"Origin": "https://evil.example"}, "cross_origin"},
		{"a page on another port", served, "POST", "127.0.0.1:6101", map[string]string{"Origin": "http://127.0.0.1:3000"}, "cross_origin"},
		{"a page in a sandbox", served, "POST", "127.0.0.1:6101", map[string]string{"Origin": "null"}, "cross_origin"},
		{"a browser that says so itself", served, "POST", "127.0.0.1:6101", map[string]string{"Sec-Fetch-Site": "cross-site"}, "cross_origin"},
		{"a page of the same site", served, "POST", "localhost:6101", map[string]string{"Sec-Fetch-Site": "same-site"}, "cross_origin"},
		{"the service's own page", served, "POST", "localhost:6101", map[string]string{"Origin": "http://localhost:6101", "Sec-Fetch-Site": "same-origin"}, ""},
		{"typed by hand", served, "POST", "localhost:6101", map[string]string{"Sec-Fetch-Site": "none"}, ""},
		{"a rebound name", served, "POST", "evil.example:6101", map[string]string{"Origin": "http://evil.example:6101", "Sec-Fetch-Site": "same-origin"}, "unknown_host"},
		{"a rebound name that only reads", served, "GET", "evil.example:6101", nil, "unknown_host"},
		{"reading across origins, which the browser keeps from the page", served, "GET", "localhost:6101", map[string]string{"Origin": "https://evil.example"}, ""},
		{"mounted on another server", context.Background(), "POST", "shop.example", nil, ""},
		{"mounted on another server, another origin", context.Background(), "POST", "shop.example", map[string]string{"Origin": "https://evil.example"}, "cross_origin"},
	} {
		r := httptest.NewRequestWithContext(c.ctx, c.method, "/orders", nil)
		r.Host = c.host
		for name, value := range c.headers {
			r.Header.Set(name, value)
		}
		got := ""
		if _, refusal := Context(r); refusal != nil {
			got = refusal.Code
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.about, got, c.want)
		}
	}
}

func TestContentTypes(t *testing.T) {
	for contentType, ok := range map[string]bool{
		"": true, "application/json": true, "Application/JSON; charset=UTF-8": true,
		"text/plain": false, "text/plain;application/json": false, "application/x-www-form-urlencoded": false,
		"multipart/form-data; boundary=x": false, "application/json; charset=utf-16": false, "application/jsonp": false, "json": false, ";": false,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/orders", strings.NewReader(`{"customerId":"c","amount":1}`))
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		_, err := ReadDraft(httptest.NewRecorder(), r)
		refusal, refused := errors.AsType[*Error](err)
		if ok != (err == nil) || refused && refusal.Status != http.StatusUnsupportedMediaType {
			t.Errorf("%q: %v", contentType, err)
		}
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/orders", strings.NewReader(`{}`))
	r.Header["Content-Type"] = []string{"application/json", "text/plain"}
	if _, err := ReadDraft(httptest.NewRecorder(), r); err == nil || !strings.Contains(err.Error(), "unsupported_media_type") {
		t.Errorf("two types: %v", err)
	}
}

// However much is wrong with a request, and however much a client makes up,
// the answer stays small.
func TestErrorsStaySmall(t *testing.T) {
	names := func(name string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"%s%d":1,`, name, i)
		}
		return `{` + strings.TrimSuffix(b.String(), ",") + `}`
	}
	for about, body := range map[string]string{
		"many fields":           names("f", 6000),
		"one long name":         names(strings.Repeat("x", 60_000), 1),
		"a name that is quoted": names(strings.Repeat("<", 60_000), 1),
		"long and many":         names(strings.Repeat("é", 1000), 30),
		"deep":                  `{"a":` + strings.Repeat("[", 60_000),
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/orders", strings.NewReader(body))
		_, err := ReadDraft(httptest.NewRecorder(), r)
		answer := httptest.NewRecorder()
		WriteError(answer, Explain(t.Context(), slog.New(slog.DiscardHandler), err))
		if answer.Code != http.StatusBadRequest || answer.Body.Len() > 12<<10 {
			t.Errorf("%s: %d with %d bytes", about, answer.Code, answer.Body.Len())
		}
		if !strings.Contains(answer.Body.String(), `"fields":[`) {
			t.Errorf("%s: %.100s", about, answer.Body)
		}
	}
}

// Trouble with the database is no error of ours, and a client that is gone is
// nobody's.
func TestExplain(t *testing.T) {
	gone, hangUp := context.WithCancel(context.Background())
	hangUp()
	cut, cutOff := context.WithCancelCause(context.Background())
	cutOff(ErrCutOff)
	late, stop := context.WithTimeout(context.Background(), 0)
	defer stop()
	for _, c := range []struct {
		about  string
		ctx    context.Context
		err    error
		status int
		level  slog.Level
	}{
		{"a standby", t.Context(), &pq.Error{Code: "25006"}, 503, slog.LevelError},
		{"no rights", t.Context(), &pq.Error{Code: "42501"}, 503, slog.LevelError},
		{"wrong password", t.Context(), &pq.Error{Code: "28P01"}, 503, slog.LevelError},
		{"no such database", t.Context(), &pq.Error{Code: "3D000"}, 503, slog.LevelError},
		{"full disk", t.Context(), &pq.Error{Code: "53100"}, 503, slog.LevelError},
		{"too many connections", t.Context(), &pq.Error{Code: "53300"}, 503, slog.LevelError},
		{"shutting down", t.Context(), &pq.Error{Code: "57P01"}, 503, slog.LevelError},
		{"statement timeout", t.Context(), &pq.Error{Code: "57014"}, 503, slog.LevelError},
		{"idle session ended", t.Context(), &pq.Error{Code: "57P05"}, 503, slog.LevelError},
		{"deadlock", t.Context(), &pq.Error{Code: "40P01"}, 503, slog.LevelError},
		{"idle transaction ended", t.Context(), &pq.Error{Code: "25P03"}, 503, slog.LevelError},
		{"pooler", t.Context(), &pq.Error{Code: "42P05"}, 503, slog.LevelError},
		{"schema", t.Context(), outbox.ErrSchema, 503, slog.LevelError},
		{"connection lost", t.Context(), io.ErrUnexpectedEOF, 503, slog.LevelError},
		{"time is up", late, errors.New("interrupted"), 503, slog.LevelError},
		{"a defect", t.Context(), &pq.Error{Code: "42601"}, 500, slog.LevelError},
		{"another defect", t.Context(), errors.New("nil map"), 500, slog.LevelError},
		{"client gone", gone, &pq.Error{Code: "57014"}, 499, slog.LevelInfo},
		{"cut off", cut, context.Canceled, 503, slog.LevelWarn},
	} {
		var logs strings.Builder
		log := slog.New(slog.NewTextHandler(&logs, nil))
		e := Explain(c.ctx, log, fmt.Errorf("begin: %w", c.err))
		if e.Status != c.status || !strings.Contains(logs.String(), "level="+c.level.String()) {
			t.Errorf("%s: %d, %s", c.about, e.Status, &logs)
		}
		answer := httptest.NewRecorder()
		WriteError(answer, e)
		if (answer.Header().Get("Retry-After") != "") != (c.status == 503) {
			t.Errorf("%s: header %v", c.about, answer.Header())
		}
		if level := (Access{Status: e.Status}).level(httptest.NewRequestWithContext(t.Context(), "GET", "/orders", nil)); (level == slog.LevelError) != (c.status >= 500) {
			t.Errorf("%s: access log at %s", c.about, level)
		}
	}
}
