package queues

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

const (
	managementTimeout = 10 * time.Second // of one request
	// managementLag is how old the numbers of RabbitMQ's management API may be.
	managementLag = 6 * time.Second
)

// Management queries RabbitMQ's management API for what AMQP does not tell: how
// many messages of a queue are unacknowledged, which queues, bindings and
// policies exist.
type Management struct {
	Base  string // its URL, with user and password
	VHost string
	// Guessed: the URL comes from the running stack and not from the user. If
	// it does not answer, it is not used.
	Guessed bool
}

// managedQueue is a queue as the API describes it.
type managedQueue struct {
	Name    string `json:"name"`
	Unacked *int   `json:"messages_unacknowledged"` // absent: not counted yet
}

// queues lists the queues of the virtual host.
func (m *Management) queues(ctx context.Context) (queues []managedQueue, err error) {
	_, err = m.get(ctx, "queues/"+url.PathEscape(m.VHost)+"?columns=name,messages_unacknowledged", &queues)
	return queues, err
}

// get reads what the API has under a path, and returns the server's time.
func (m *Management) get(ctx context.Context, path string, into any) (at time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, managementTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Base+"/api/"+path, nil)
	if err != nil {
		return at, fail.Usagef("", "--management-url: not the base URL of a management API")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return at, fail.CannotReach("management API", fail.Reason(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return at, fail.New(fail.Unreachable, "check --management-url, and that its user may monitor the virtual host "+m.VHost,
			"the management API answers %s", res.Status)
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return at, fmt.Errorf("read the answer of the management API: %w", err)
	}
	at, _ = http.ParseTime(res.Header.Get("Date")) // zero: it does not say
	return at, nil
}

// unacked returns the sum of the unacknowledged messages of some queues;
// negative: the API has not counted one of them yet.
func (m *Management) unacked(ctx context.Context, names map[string]bool) (int, error) {
	queues, err := m.queues(ctx)
	if err != nil {
		if m.Guessed && ctx.Err() == nil {
			return -1, nil
		}
		return 0, err
	}
	sum := 0
	for _, q := range queues {
		switch {
		case !names[q.Name]:
		case q.Unacked == nil:
			return -1, nil
		default:
			sum += *q.Unacked
		}
	}
	return sum, nil
}
