package program

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serve answers /health/ready with status and returns the address.
func serve(t *testing.T, status int) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health/ready" {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
		w.Write([]byte(`{"status":"so so"}`))
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestCheckHealth(t *testing.T) {
	for _, c := range []struct {
		status, code int
	}{{http.StatusOK, 0}, {http.StatusServiceUnavailable, 1}, {http.StatusNotFound, 1}} {
		var stderr bytes.Buffer
		if got := checkHealth(serve(t, c.status), false, &stderr); got != c.code {
			t.Errorf("status %d: exit code %d, want %d", c.status, got, c.code)
		}
		if told := strings.Contains(stderr.String(), "so so"); told == (c.code == 0) {
			t.Errorf("status %d: tells %q", c.status, &stderr)
		}
	}
}

func TestCheckHealthOfAllAddresses(t *testing.T) {
	_, port, err := net.SplitHostPort(serve(t, http.StatusOK))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"", "0.0.0.0", "[::]", "localhost"} {
		if err := askReady(t.Context(), host+":"+port, false); err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func TestCheckHealthOfNobody(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	if got := checkHealth(addr, false, &stderr); got != 1 || !strings.Contains(stderr.String(), "refused") {
		t.Errorf("exit code %d, want 1; tells %q", got, &stderr)
	}
}

// A service that takes the connection and says nothing must not hold up the
// check: here until the deadline, which is over.
func TestCheckHealthHasADeadline(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if err := askReady(ctx, silent.Addr().String(), false); err == nil {
		t.Error("a silent service is healthy")
	}
}

func TestCheckHealthIgnoresProxies(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	if err := askReady(t.Context(), serve(t, http.StatusOK), false); err != nil {
		t.Error(err)
	}
}
