package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// caller is who places orders: a token and a client, which change.
type caller struct {
	mu     sync.Mutex
	bearer string
	http   *http.Client
}

func (c *caller) token() string { c.mu.Lock(); defer c.mu.Unlock(); return c.bearer }

func (c *caller) setToken(token string) { c.mu.Lock(); defer c.mu.Unlock(); c.bearer = token }

func (c *caller) client() *http.Client { c.mu.Lock(); defer c.mu.Unlock(); return c.http }

// callers gives all callers a client.
func (e *estate) callers(client *http.Client) {
	for _, c := range []*caller{e.shop, e.app} {
		c.mu.Lock()
		c.http = client
		c.mu.Unlock()
	}
}

// client returns one that makes a handshake for each request.
func (e *estate) client(trusted *x509.CertPool, as ...tls.Certificate) *http.Client {
	return &http.Client{Timeout: relayPatience, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: trusted, Certificates: as, MinVersion: tls.VersionTLS12},
	}}
}

// get asks a service for something that needs a token.
func get(client *http.Client, base, token string) (status int, err error) {
	req, err := http.NewRequest(http.MethodGet, base+"/orders?limit=1", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// awaitStatus waits until both services answer so to a token.
func (e *estate) awaitStatus(token string, want int) {
	e.t.Helper()
	e.eachService("a token to be answered with "+http.StatusText(want), func(base string) bool {
		got, err := get(e.app.client(), base, token)
		if err != nil {
			e.t.Fatal(err)
		}
		return got == want || want == http.StatusOK && letIn(got)
	})
}

// letIn reports whether a status is that of somebody who may ask. Notifications has
// no orders, which it says to those alone.
func letIn(status int) bool { return status == http.StatusOK || status == http.StatusNotFound }

// eachService waits until a condition holds for both.
func (e *estate) eachService(what string, holds func(base string) bool) {
	e.t.Helper()
	for _, p := range e.programs {
		if p.name != "relay" {
			testenv.Eventually(e.t, relayPatience, p.name+": "+what, func() bool { return holds(p.url) })
		}
	}
}

// orderLoad is callers who place one order after the other.
type orderLoad struct {
	t       *testing.T
	stop    chan struct{}
	workers sync.WaitGroup
	mu      sync.Mutex
	ids     []string // of the events
	late    int      // requests that ran out of time, as on a busy machine
}

// startLoad lets all callers place orders. Whatever is not accepted fails the test,
// but for answers that the database was too slow: the log of orders tells whether
// that was all (estate.run).
func (e *estate) startLoad() *orderLoad {
	l := &orderLoad{t: e.t, stop: make(chan struct{})}
	var base string
	for _, p := range e.programs {
		if p.name == "orders" {
			base = p.url
		}
	}
	for _, c := range []*caller{e.shop, e.app} {
		l.workers.Go(func() {
			pace := time.NewTicker(50 * time.Millisecond)
			defer pace.Stop()
			for {
				select {
				case <-l.stop:
					return
				case <-pace.C:
				}
				if !l.place(c, base) {
					return
				}
			}
		})
	}
	e.t.Cleanup(func() { l.end() })
	return l
}

func (l *orderLoad) place(c *caller, base string) bool {
	req, err := http.NewRequest(http.MethodPost, base+"/orders", strings.NewReader(`{"customerId":"customer-123","amount":77.5}`))
	if err != nil {
		l.t.Error(err)
		return false
	}
	req.Header.Set("Authorization", "Bearer "+c.token())
	req.Header.Set("Content-Type", "application/json")
	res, err := c.client().Do(req)
	if err != nil {
		l.t.Errorf("POST /orders: %v", err)
		return false
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if res.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(body), "the database cannot serve this now") {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.late++
		return true
	}
	var placed struct{ EventID string }
	if err != nil || res.StatusCode != http.StatusCreated || json.Unmarshal(body, &placed) != nil {
		l.t.Errorf("POST /orders: %s %s %v", res.Status, body, err)
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids = append(l.ids, placed.EventID)
	return true
}

func (l *orderLoad) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ids)
}

// await waits for n more orders.
func (l *orderLoad) await(n int) {
	l.t.Helper()
	n += l.count()
	testenv.Eventually(l.t, relayPatience, "more orders", func() bool { return l.count() >= n || l.t.Failed() })
	if l.t.Failed() {
		l.t.FailNow()
	}
}

// end stops the load and returns the events of what was accepted.
func (l *orderLoad) end() []string {
	l.mu.Lock()
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.mu.Unlock()
	l.workers.Wait()
	return l.ids
}
