package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/process"
)

// load are clients who place orders, and remember what they were told.
type load struct {
	url  func() string // of the service
	rate int

	mu      sync.Mutex
	answers []check.Answer
}

const (
	clients     = 16
	customers   = 40
	refuseOne   = 20 // of so many orders one is to be refused
	answerLimit = 20 * time.Second
)

// run asks for orders at the rate until ctx ends, as far as the clients can: those
// who wait for an answer do not ask again.
func (l *load) run(ctx context.Context, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0x10AD))
	orders := make(chan process.Request)
	var waiting sync.WaitGroup
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: answerLimit}
	for range clients {
		waiting.Go(func() {
			for order := range orders {
				l.place(ctx, client, order)
			}
		})
	}
	defer waiting.Wait()
	defer close(orders)
	tick := time.NewTicker(time.Second / time.Duration(l.rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		order := process.Request{
			ID: uuid.NewString(), Customer: fmt.Sprint("customer-", random.IntN(customers)), Refuse: random.IntN(refuseOne) == 0,
		}
		select {
		case orders <- order:
		default: // everybody waits
		}
	}
}

// place asks for one order. Clients wait for their answers also when the load has
// ended.
func (l *load) place(ctx context.Context, client *http.Client, order process.Request) {
	answer := check.Answer{Order: order.ID, At: time.Now(), Outcome: check.Unknown}
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.answers = append(l.answers, answer)
	}()
	body, err := json.Marshal(order)
	if err != nil {
		return
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, l.url()+"/orders", bytes.NewReader(body))
	if err != nil {
		return
	}
	res, err := client.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	switch res.StatusCode {
	case http.StatusCreated:
		answer.Outcome = check.Accepted
	case http.StatusUnprocessableEntity:
		answer.Outcome = check.Refused
	}
}

func (l *load) told() []check.Answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers[:len(l.answers):len(l.answers)]
}

// accepted counts the orders that were accepted.
func (l *load) accepted() (n int) {
	for _, a := range l.told() {
		if a.Outcome == check.Accepted {
			n++
		}
	}
	return n
}
