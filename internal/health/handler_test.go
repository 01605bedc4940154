package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lib/pq"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

type body struct {
	Status, Service, Message string
	Database                 *state
	Relay                    *struct {
		State, LastError string
		Connected        bool
	}
}

func ask(t *testing.T, h http.Handler, method, path string) (*httptest.ResponseRecorder, body) {
	t.Helper()
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	var b body
	if err := json.Unmarshal(answer.Body.Bytes(), &b); err != nil {
		t.Fatalf("%s: %v", answer.Body, err)
	}
	return answer, b
}

func newHandler(ready ...func(context.Context) error) *Handler {
	return &Handler{Service: "orders", Part: "relay", Ready: ready, Timeout: time.Second, Log: slog.New(slog.DiscardHandler)}
}

func always(err error) func(context.Context) error { return func(context.Context) error { return err } }

func TestHandlerReadyErrors(t *testing.T) {
	secret := "10.1.2.3 hunter2"
	for _, c := range []struct {
		err              error
		code             int
		status, database string
	}{
		{nil, 200, "ready", "ok"},
		{fmt.Errorf("%w: %s", sqldb.ErrSchema, secret), 503, "unready", "schema"},
		{&net.OpError{Op: "dial", Err: errors.New(secret)}, 503, "unready", "unreachable"},
		{context.DeadlineExceeded, 503, "unready", "unreachable"},
		{&pq.Error{Code: "53100", Message: secret}, 503, "unready", "full"},
		{&pq.Error{Code: "25006", Message: secret}, 503, "unready", "read-only"},
		{&pq.Error{Code: "42501", Message: secret}, 503, "unready", "refused"},
		{&pq.Error{Code: "28P01", Message: secret}, 503, "unready", "refused"},
		{&pq.Error{Code: "42P05", Message: secret}, 503, "unready", "pooler"},
		{errors.New(secret), 503, "unready", "failing"},
		{ErrDraining, 503, "draining", "unknown"},
	} {
		answer, b := ask(t, newHandler(always(nil), always(c.err)), http.MethodGet, "/health/ready")
		if answer.Code != c.code || b.Status != c.status || b.Database == nil || b.Database.Status != c.database || b.Service != "orders" {
			t.Errorf("%v: %d %s", c.err, answer.Code, answer.Body)
		}
		if strings.Contains(answer.Body.String(), "hunter2") || strings.Contains(answer.Body.String(), "10.1") {
			t.Errorf("the answer reveals names: %s", answer.Body)
		}
		if (answer.Header().Get("Retry-After") != "") != (c.code == 503) || answer.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%v: header %v", c.err, answer.Header())
		}
	}
}

// The health of the part is shown, and does not affect readiness.
func TestHandlerHidesNames(t *testing.T) {
	h := newHandler()
	h.Health = func() any {
		return struct {
			State     kind
			LastError error
			Reason    string
			Reasons   []string
			Topics    []topic
		}{"degraded", fmt.Errorf("lane 1: %w: %w", Public("broker unavailable"), errors.New("amqp://app@10.1.2.3")),
			"10.1.2.3", []string{"10.1.2.3"}, []topic{{Topic: "order.created"}}}
	}
	h.Connected = func() bool { return true }
	answer, b := ask(t, h, http.MethodGet, "/health/ready")
	if answer.Code != 200 || b.Relay == nil || b.Relay.State != "degraded" || b.Relay.LastError != "broker unavailable" || !b.Relay.Connected {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	if text := answer.Body.String(); strings.Contains(text, "10.1.2.3") || !strings.Contains(text, `"topics":[{"topic":"order.created"`) {
		t.Errorf("the answer reveals names: %s", text)
	}
}

type kind string

func TestHandlerLive(t *testing.T) {
	h := newHandler(always(errors.New("away")))
	if answer, b := ask(t, h, http.MethodGet, "/health/live"); answer.Code != 200 || b.Status != "live" {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	var err error
	h.Failed = func() error { return err }
	if answer, _ := ask(t, h, http.MethodGet, "/health/live"); answer.Code != 200 {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
	err = fmt.Errorf("%w: user app", sqldb.ErrSchema)
	if answer, b := ask(t, h, http.MethodGet, "/health/live"); answer.Code != 503 || b.Status != "dead" || b.Message != "relay has ended: database: schema" {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}

func TestHandlerOtherRequests(t *testing.T) {
	h := newHandler()
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{"HEAD", "/health/ready", 200}, {"GET", "/ready", 200}, {"GET", "/a/b/live", 200},
		{"POST", "/health/ready", 405}, {"GET", "/health/", 404}, {"GET", "/", 404}, {"GET", "/health/ready/x", 404},
	} {
		if answer, _ := ask(t, h, c.method, c.path); answer.Code != c.code {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, answer.Code, c.code)
		}
	}
}

// Concurrent requests cost the database one check.
func TestHandlerSharesChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks, leave := 0, make(chan struct{})
		h := newHandler(func(context.Context) error { looks++; <-leave; return nil })
		h.Timeout = time.Minute
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if answer, _ := ask(t, h, http.MethodGet, "/ready"); answer.Code != 200 {
					t.Errorf("%d %s", answer.Code, answer.Body)
				}
			})
		}
		synctest.Wait()
		close(leave)
		wg.Wait()
		if looks != 1 {
			t.Errorf("%d looks", looks)
		}
	})
}

// The first client disconnects; the others still get their answer. And a check
// has its own limit.
func TestHandlerCheckOutlivesRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		ctx, hangUp := context.WithCancel(t.Context())
		go func() {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/ready", nil))
		}()
		synctest.Wait()
		hangUp()
		began := time.Now()
		answer, b := ask(t, h, http.MethodGet, "/ready")
		if answer.Code != 503 || b.Database.Status != "unreachable" || time.Since(began) != h.Timeout {
			t.Errorf("%d %s after %v", answer.Code, answer.Body, time.Since(began))
		}
	})
}

// A SQLite file is busy whenever another process writes. That is a problem only
// if it does not end.
func TestHandlerBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := fmt.Errorf("%w: locked", sqldb.ErrBusy)
		h := newHandler(func(context.Context) error { return busy }, always(nil))
		want := func(code int) {
			t.Helper()
			if answer, b := ask(t, h, http.MethodGet, "/ready"); answer.Code != code || code == 503 && b.Database.Status != "busy" {
				t.Errorf("%d %s, want %d", answer.Code, answer.Body, code)
			}
		}
		want(200)
		time.Sleep(busyLimit)
		want(200)
		time.Sleep(time.Millisecond)
		want(503)
		busy = nil
		want(200)
		busy = sqldb.ErrBusy
		want(200)
		h.Ready = append(h.Ready, always(sqldb.ErrSchema)) // the other checks still run
		want2, b := ask(t, h, http.MethodGet, "/ready")
		if want2.Code != 503 || b.Database.Status != "schema" {
			t.Errorf("%d %s", want2.Code, want2.Body)
		}
	})
}

func TestText(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("10.1.2.3"), "see the logs"},
		{&net.OpError{Op: "dial", Err: errors.New("10.1.2.3")}, "connection lost; see the logs"},
		{&pq.Error{Code: "42501", Message: "permission denied for table orders"}, "database: access refused"},
		{fmt.Errorf("lane 1: %w", errors.Join(Public("broker unavailable"), errors.New("x"), fmt.Errorf("to 10.1: %w", Public("access refused")))),
			"broker unavailable: access refused"},
		{fmt.Errorf("%w: %w", Public("a"), Public("a")), "a"},
		{Public(strings.Repeat("x", 1000)), strings.Repeat("x", maxText)},
	} {
		if got := Text(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
