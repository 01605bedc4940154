package stdlib

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPanicIsAnErrorOfOurs(t *testing.T) {
	var logs strings.Builder
	log := slog.New(slog.NewTextHandler(&logs, nil))
	h := observe(log, nil, newMux(log, []route{{http.MethodGet, "/panic", func(http.ResponseWriter, *http.Request) error { panic("hunter2") }}}))
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/panic", nil))
	body := answer.Body.String()
	if answer.Code != http.StatusInternalServerError || !strings.Contains(body, `"code":"internal"`) || strings.Contains(body, "hunter2") {
		t.Errorf("answer %d %s", answer.Code, body)
	}
	if !strings.Contains(logs.String(), "hunter2") || !strings.Contains(logs.String(), "status=500") {
		t.Errorf("logs %s", &logs)
	}
}
