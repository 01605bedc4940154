package service

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

// newServer returns a server that has no database.
func newServer(s Settings) *Server { return NewServer(s, slog.New(slog.DiscardHandler), nil) }

// serving runs serve around h until stop is called.
func serving(t *testing.T, h http.Handler, grace time.Duration) (url string, stop context.CancelFunc, done <-chan error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	result := make(chan error, 1)
	go func() { result <- newServer(Settings{ShutdownTimeout: grace}).serve(ctx, ln, h) }()
	return "http://" + ln.Addr().String(), stop, result
}

type reply struct {
	status int
	body   string
	err    error
}

func get(url string) <-chan reply {
	replies := make(chan reply, 1)
	go func() {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Get(url)
		if err != nil {
			replies <- reply{err: err}
			return
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		replies <- reply{res.StatusCode, string(body), err}
	}()
	return replies
}

func TestServeFinishesRequestsInFlight(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	url, stop, done := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		if err := r.Context().Err(); err != nil {
			t.Errorf("the request was cut off: %v", err)
		}
		io.WriteString(w, "finished")
	}), time.Minute)
	replies := get(url)
	<-entered
	stop()
	select {
	case err := <-done:
		t.Fatalf("serve returned before the request was answered: %v", err)
	default:
	}
	close(leave)
	if r := <-replies; r.err != nil || r.body != "finished" {
		t.Errorf("reply %+v", r)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestServeCutsOffWhatTakesTooLong(t *testing.T) {
	entered := make(chan struct{})
	var left bool
	url, stop, done := serving(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		left = true
	}), time.Millisecond)
	replies := get(url)
	<-entered
	stop()
	if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("serve returned %v, want that requests were cut off", err)
	}
	if !left {
		t.Error("serve returned while the handler ran")
	}
	if r := <-replies; r.err == nil {
		t.Errorf("reply %+v, want none", r)
	}
}

func TestServeTellsThatTheListenerIsGone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := newServer(Settings{ShutdownTimeout: time.Second}).serve(t.Context(), ln, http.NotFoundHandler()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("serve returned %v", err)
	}
}
