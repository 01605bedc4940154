package faults_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// placed is the response to an order.
type placed struct{ OrderID, EventID, CorrelationID string }

// place commits n orders, each with its event, through the API of an orders
// service without a running relay.
func (s *system) place(n int) []placed {
	s.t.Helper()
	return s.placeFor(n, "customer-123")
}

func (s *system) placeFor(n int, customer string) []placed {
	s.t.Helper()
	const workers = 4
	answers := make([]placed, n)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				var err error
				if answers[i], err = s.order(customer); err != nil {
					s.t.Error(err)
					return
				}
			}
		})
	}
	if wg.Wait(); s.t.Failed() {
		s.t.FailNow()
	}
	return answers
}

// order sends one request; headers are alternating names and values.
func (s *system) order(customer string, headers ...string) (p placed, err error) {
	req := httptest.NewRequestWithContext(s.t.Context(), http.MethodPost, "/orders", orderBody(customer))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res := httptest.NewRecorder()
	s.counter.ServeHTTP(res, req)
	if res.Code != http.StatusCreated {
		return p, fmt.Errorf("POST /orders: %d %s", res.Code, res.Body)
	}
	return p, json.Unmarshal(res.Body.Bytes(), &p)
}

func orderBody(customer string) *strings.Reader {
	return strings.NewReader(fmt.Sprintf(`{"customerId":%q,"amount":77.5}`, customer))
}

func uuidOf(t *testing.T, text string) uuid.UUID {
	t.Helper()
	id, err := uuid.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// load simulates customers who place one order after another.
type load struct {
	t       *testing.T
	stop    chan struct{}
	workers sync.WaitGroup

	mu     sync.Mutex
	placed []placed
	// cutOff counts requests whose answer was lost with the service: the order
	// may be committed or not.
	cutOff int
	// failed counts answers of 5xx, where they are expected.
	failed int
	expect bool
	pace   time.Duration // between two orders of a customer
}

// startLoad lets n customers order at url until end is called. Any answer but
// 201 fails the test.
func startLoad(t *testing.T, url string, n int) *load {
	return (&load{t: t, stop: make(chan struct{}), pace: briskly}).start(url, n)
}

// startFailingLoad is startLoad for faults during which answers of 5xx are
// expected.
func startFailingLoad(t *testing.T, url string, n int) *load {
	return (&load{t: t, stop: make(chan struct{}), pace: briskly, expect: true}).start(url, n)
}

// briskly leaves CPU time for the services under test.
const briskly = 5 * time.Millisecond

// startSlowLoad is startLoad for faults that take long, with ten orders a second.
func startSlowLoad(t *testing.T, url string) *load {
	return (&load{t: t, stop: make(chan struct{}), pace: 100 * time.Millisecond}).start(url, 1)
}

func (l *load) start(url string, n int) *load {
	for range n {
		l.workers.Go(func() { l.order(url) })
	}
	l.t.Cleanup(func() { l.end() })
	return l
}

func (l *load) order(url string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	pace := time.NewTicker(l.pace)
	defer pace.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-pace.C:
		}
		p, err := post(&client, url)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return // the service has ended
		case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF):
			l.mu.Lock()
			l.cutOff++
			l.mu.Unlock()
		case l.expect && errors.Is(err, errServer):
			l.mu.Lock()
			l.failed++
			l.mu.Unlock()
		case err != nil:
			l.t.Errorf("POST /orders: %v", err)
			return
		default:
			l.mu.Lock()
			l.placed = append(l.placed, p)
			l.mu.Unlock()
		}
	}
}

var errServer = errors.New("the service cannot accept orders")

func post(client *http.Client, url string) (p placed, err error) {
	res, err := client.Post(url+"/orders", "application/json", orderBody("customer-123"))
	if err != nil {
		return p, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return p, err
	}
	switch {
	case res.StatusCode >= 500:
		return p, fmt.Errorf("%w: %s: %s", errServer, res.Status, body)
	case res.StatusCode != http.StatusCreated:
		return p, fmt.Errorf("%s: %s", res.Status, body)
	}
	return p, json.Unmarshal(body, &p)
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.placed)
}

// failures returns how many orders have failed where that is expected.
func (l *load) failures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// awaitFailures waits until n orders in total have failed.
func (l *load) awaitFailures(n int) {
	l.t.Helper()
	testenv.Eventually(l.t, patience, "orders to be refused", func() bool { return l.failures() >= n })
}

// await waits for n more orders.
func (l *load) await(n int) {
	l.t.Helper()
	n += l.count()
	testenv.Eventually(l.t, patience, "more orders", func() bool { return l.count() >= n || l.t.Failed() })
}

// end stops the load and returns the orders that were answered with 201.
func (l *load) end() []placed {
	l.mu.Lock()
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.mu.Unlock()
	l.workers.Wait()
	return l.placed
}
