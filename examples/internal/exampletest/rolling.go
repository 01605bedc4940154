package exampletest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// RollingRestartHasNoError tests that behind a load balancer one instance after
// the other can be replaced while customers order, and none of them notices.
func (k Stack) RollingRestartHasNoError(t *testing.T) {
	settings, _ := Settings(t, Servers)
	settings.DrainPeriod = 3 * time.Second // for a probe to come, on the slowest machine
	b := testenv.NewBalancer(t)
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
		b.Add(i.ctx, i.url)
		testenv.Eventually(t, Patience, "the load balancer to find it ready", func() bool { return b.IsReady(i.url) })
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
				res, err := client.Post(b.URL+"/orders", "application/json", strings.NewReader(anOrder))
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
			if b.IsReady(instances[i].url) {
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
