package exampletest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// balancer is a load balancer: it asks its backends whether they are ready,
// sends requests to those that are in turn, over connections that it keeps, and
// never twice.
type balancer struct {
	url       string
	transport http.Transport
	probing   sync.WaitGroup

	mu       sync.Mutex
	backends map[string]bool // by URL: whether it is ready
	turn     int
}

// probeInterval is how often the balancer asks.
const probeInterval = 20 * time.Millisecond

func newBalancer(t *testing.T) *balancer {
	b := &balancer{backends: make(map[string]bool)}
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
	b.url = front.URL
	t.Cleanup(func() {
		front.Close()
		b.probing.Wait()
		b.transport.CloseIdleConnections()
	})
	return b
}

// next returns the backend whose turn it is, "" where none is ready.
func (b *balancer) next() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ready []string
	for backend, is := range b.backends {
		if is {
			ready = append(ready, backend)
		}
	}
	if len(ready) == 0 {
		return ""
	}
	b.turn++
	return ready[b.turn%len(ready)]
}

// add probes a backend until the context ends.
func (b *balancer) add(ctx context.Context, backend string) {
	client := http.Client{Timeout: Patience}
	b.probing.Go(func() {
		defer client.CloseIdleConnections()
		tick := time.NewTicker(probeInterval)
		defer tick.Stop()
		for {
			res, err := client.Get(backend + "/health/ready")
			ready := err == nil && res.StatusCode == http.StatusOK
			if err == nil {
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
			b.mu.Lock()
			b.backends[backend] = ready
			b.mu.Unlock()
			select {
			case <-tick.C:
			case <-ctx.Done():
				b.mu.Lock()
				delete(b.backends, backend)
				b.mu.Unlock()
				return
			}
		}
	})
}

func (b *balancer) isReady(backend string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.backends[backend]
}

// RollingRestartHasNoError tests that behind a load balancer one instance after
// the other can be replaced while customers order, and none of them notices.
func (k Stack) RollingRestartHasNoError(t *testing.T) {
	settings, _ := Settings(t, Servers)
	settings.DrainPeriod = 3 * time.Second // for a probe to come, on the slowest machine
	b := newBalancer(t)
	type instance struct {
		url  string
		stop func()
		ctx  context.Context
		end  context.CancelFunc
	}
	start := func() instance {
		orders, err := k.Orders(settings)
		if err != nil {
			t.Fatal(err)
		}
		var i instance
		i.url, i.stop = StartUntil(t, orders)
		i.ctx, i.end = context.WithCancel(context.Background())
		t.Cleanup(i.end)
		b.add(i.ctx, i.url)
		testenv.Eventually(t, Patience, "the load balancer to find it ready", func() bool { return b.isReady(i.url) })
		return i
	}
	instances := []instance{start(), start()}

	var placed atomic.Int64
	var failures sync.Map
	stop, customers := make(chan struct{}), sync.WaitGroup{}
	for range 8 {
		customers.Go(func() {
			client := http.Client{Timeout: Patience}
			defer client.CloseIdleConnections()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				res, err := client.Post(b.url+"/orders", "application/json", strings.NewReader(anOrder))
				if err != nil {
					failures.Store(err.Error(), true)
					continue
				}
				body, _ := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if res.StatusCode != http.StatusCreated {
					failures.Store(fmt.Sprintf("%d %s", res.StatusCode, body), true)
					continue
				}
				placed.Add(1)
			}
		})
	}
	for round := range 2 {
		for i := range instances {
			before := placed.Load()
			testenv.Eventually(t, Patience, "orders", func() bool { return placed.Load() >= before+50 })
			replacement := start()
			instances[i].stop()
			if b.isReady(instances[i].url) {
				t.Errorf("round %d: the load balancer took instance %d for ready to the end", round, i)
			}
			instances[i].end()
			instances[i] = replacement
		}
	}
	close(stop)
	customers.Wait()
	failures.Range(func(failure, _ any) bool {
		t.Errorf("a customer noticed: %v", failure)
		return true
	})
	if n := Count(t, Open(t, settings.DatabaseURL), `orders`); int64(n) != placed.Load() {
		t.Errorf("%d orders are there, %d were answered", n, placed.Load())
	}
}
