package stack

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// TestAwaitReady: a service accepts requests before its consumer is there.
func TestAwaitReady(t *testing.T) {
	var answers []string
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if answers[0] == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, `{"consumer":{"state":"`+answers[0]+`"}}`)
		answers = answers[1:]
	}))
	defer service.Close()
	for _, c := range []struct {
		name   string
		wanted func(readiness) bool
		left   []string
	}{
		{"accepts", accepts, []string{"running", "never asked for"}},
		{"consumes", consumes, []string{"never asked for"}},
	} {
		answers = []string{"", "starting", "running", "never asked for"}
		if err := awaitReady(t.Context(), service.URL, nil, c.wanted); err != nil || !slices.Equal(answers, c.left) {
			t.Errorf("%s: %v, and answers %q are left, want %q", c.name, err, answers, c.left)
		}
	}
}
