package web

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/page"
)

func TestGuard(t *testing.T) {
	const token = "0123456789abcdef"
	h := guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }), token)
	for name, c := range map[string]struct {
		set  func(*http.Request)
		want int
	}{
		"nothing":      {func(*http.Request) {}, http.StatusUnauthorized},
		"bearer":       {func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }, http.StatusNoContent},
		"password":     {func(r *http.Request) { r.SetBasicAuth("anybody", token) }, http.StatusNoContent},
		"wrong bearer": {func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token+"x") }, http.StatusUnauthorized},
		"user":         {func(r *http.Request) { r.SetBasicAuth(token, "") }, http.StatusUnauthorized},
		"empty":        {func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }, http.StatusUnauthorized},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		c.set(r)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", name, w.Code, c.want)
		}
		if w.Code == http.StatusUnauthorized && !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: a browser does not ask: %v", name, w.Header())
		}
	}
}

// When ctx ends the server ends, also while a browser watches, and all that it has
// started.
func TestServeEnds(t *testing.T) {
	again := func() *env.Env {
		return &env.Env{IO: (&console.IO{Now: time.Now}).Silent(), Getenv: func(name string) string {
			return map[string]string{"PULSE_STATE_DIR": t.TempDir(), "PULSE_OUTBOX_DB": "sqlite:" + t.TempDir() + "/none.db"}[name]
		}}
	}
	servers := env.NewShared(again)
	defer servers.Close()
	h, err := page.New(page.Config{Servers: servers, Hosts: []string{}, Logger: slog.New(slog.DiscardHandler), Interval: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := Listen("addr", "127.0.0.1:0", true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, h, h, true) }()
	res, err := http.Get(URL(ln) + "events")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	first := make([]byte, 1)
	if _, err := io.ReadFull(res.Body, first); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, res.Body) // it ends
	if _, err := http.Get(URL(ln)); err == nil {
		t.Error("it still answers")
	}
}
