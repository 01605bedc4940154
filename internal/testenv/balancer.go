package testenv

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Balancer is a load balancer: it asks its backends whether they are ready,
// sends requests to those that are in turn, over connections that it keeps, and
// never twice.
type Balancer struct {
	URL string
	// FailOpen sends requests to all backends that are not stopping while none is
	// ready, as many load balancers do: what they all lack is no reason to prefer one.
	FailOpen  bool // set before the first request
	transport http.Transport
	probing   sync.WaitGroup

	mu       sync.Mutex
	backends map[string]backend // by URL
	turn     int
}

// backend is what a backend has answered last.
type backend int

const (
	gone backend = iota // it is stopping, or does not answer
	unready
	ready
)

// How often the balancer asks, and for how long it waits for an answer.
const (
	probeInterval = 20 * time.Millisecond
	probeLimit    = time.Minute
)

// NewBalancer returns a balancer without backends, which ends with the test.
func NewBalancer(t testing.TB) *Balancer {
	t.Helper()
	b := &Balancer{backends: make(map[string]backend)}
	proxy := &httputil.ReverseProxy{
		Transport: &b.transport,
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		Rewrite: func(r *httputil.ProxyRequest) {
			if target, err := url.Parse(b.next()); err == nil {
				r.SetURL(target)
			}
		},
	}
	front := httptest.NewServer(proxy)
	b.URL = front.URL
	t.Cleanup(func() {
		front.Close()
		b.probing.Wait()
		b.transport.CloseIdleConnections()
	})
	return b
}

// next returns the backend whose turn it is, "" where there is none.
func (b *Balancer) next() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	accepted := []backend{ready}
	if b.FailOpen {
		accepted = append(accepted, unready)
	}
	for _, least := range accepted {
		var found []string
		for url, state := range b.backends {
			if state >= least {
				found = append(found, url)
			}
		}
		if len(found) > 0 {
			b.turn++
			return found[b.turn%len(found)]
		}
	}
	return ""
}

// Add probes a backend until the context ends.
func (b *Balancer) Add(ctx context.Context, url string) {
	client := http.Client{Timeout: probeLimit}
	b.probing.Go(func() {
		defer client.CloseIdleConnections()
		tick := time.NewTicker(probeInterval)
		defer tick.Stop()
		for {
			state := probe(&client, url)
			b.mu.Lock()
			b.backends[url] = state
			b.mu.Unlock()
			select {
			case <-tick.C:
			case <-ctx.Done():
				b.mu.Lock()
				delete(b.backends, url)
				b.mu.Unlock()
				return
			}
		}
	})
}

// probe asks a backend whether it is ready.
func probe(client *http.Client, url string) backend {
	res, err := client.Get(url + "/health/ready")
	if err != nil {
		return gone
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	switch {
	case err != nil || bytes.Contains(body, []byte(`"draining"`)):
		return gone
	case res.StatusCode != http.StatusOK:
		return unready
	}
	return ready
}

// IsReady reports whether a backend was ready when it was last asked.
func (b *Balancer) IsReady(url string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.backends[url] == ready
}
