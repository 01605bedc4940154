package gin

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
)

// serve answers one request with an engine of these routes.
func serve(t *testing.T, logs io.Writer, routes []route, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	engine := newEngine(slog.New(slog.NewTextHandler(logs, nil)), nil, routes)
	answer := httptest.NewRecorder()
	engine.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return answer
}

func TestPanicIsAnErrorOfOurs(t *testing.T) {
	var logs strings.Builder
	answer := serve(t, &logs, []route{{http.MethodGet, "/panic", func(*gin.Context) error { panic("hunter2") }}}, http.MethodGet, "/panic")
	body := answer.Body.String()
	if answer.Code != http.StatusInternalServerError || !strings.Contains(body, `"code":"internal"`) || strings.Contains(body, "hunter2") {
		t.Errorf("answer %d %s", answer.Code, body)
	}
	if !strings.Contains(logs.String(), "hunter2") || !strings.Contains(logs.String(), "status=500") {
		t.Errorf("logs %s", &logs)
	}
}

func TestAbortGoesOnToTheServer(t *testing.T) {
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("recovered %v", p)
		}
	}()
	serve(t, io.Discard, []route{{http.MethodGet, "/abort", func(*gin.Context) error { panic(http.ErrAbortHandler) }}}, http.MethodGet, "/abort")
	t.Error("no panic")
}

func TestRoutes(t *testing.T) {
	says := func(c *gin.Context) error { c.String(http.StatusOK, "here"); return nil }
	routes := []route{
		{http.MethodPost, "/orders", says},
		{http.MethodGet, "/orders", says},
		{http.MethodGet, "/orders/:id", func(c *gin.Context) error {
			c.String(http.StatusOK, c.Param("id"))
			return nil
		}},
	}
	for _, c := range []struct {
		method, path string
		status       int
		says, allow  string
	}{
		{"HEAD", "/orders", 200, "here", ""},
		{"GET", "/orders/a%2Fb", 200, "a/b", ""},
		{"GET", "/orders/", 404, "not_found", ""},
		{"POST", "/orders/", 404, "not_found", ""},
		{"GET", "/Orders", 404, "not_found", ""},
		{"PUT", "/orders", 405, "method_not_allowed", "GET, HEAD, POST"},
		{"POST", "/orders/x", 405, "method_not_allowed", "GET, HEAD"},
	} {
		answer := serve(t, io.Discard, routes, c.method, c.path)
		if answer.Code != c.status || !strings.Contains(answer.Body.String(), c.says) || answer.Header().Get("Allow") != c.allow {
			t.Errorf("%s %s: %d %s, Allow: %q; want %d with %q and %q", c.method, c.path, answer.Code, answer.Body, answer.Header().Get("Allow"), c.status, c.says, c.allow)
		}
	}
}
