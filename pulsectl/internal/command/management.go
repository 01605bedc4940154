package command

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

const (
	managementTimeout = 10 * time.Second // of one question
	// managementLag is how old the numbers of RabbitMQ's management API may be.
	managementLag = 6 * time.Second
)

// management asks RabbitMQ's management API for what AMQP does not tell: how
// many messages of a queue are unacknowledged, and which queues there are.
type management struct {
	base  string // with user and password
	vhost string
	// guessed: nobody has given the URL but the stack that runs. What does not
	// answer there is not asked.
	guessed bool
}

// management returns nil where nobody has said where the API is.
func (e *Env) management(amqpURL string) (*management, error) {
	guessed := false
	base, err := e.setting(e.flags.managementURL, "PULSE_MANAGEMENT_URL", func(s stack.State) string {
		guessed = true
		return s.RabbitMQUIURL
	})
	if err != nil || base == "" {
		return nil, err
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fail.Usagef("for example: http://127.0.0.1:15672", "--management-url: not the base URL of a management API")
	}
	broker, err := url.Parse(amqpURL)
	if err != nil {
		return nil, fail.Usagef("", "--amqp-url: cannot be parsed")
	}
	if u.User == nil {
		u.User = broker.User
	}
	vhost, err := url.PathUnescape(strings.TrimPrefix(broker.EscapedPath(), "/"))
	if err != nil || vhost == "" {
		vhost = "/"
	}
	return &management{strings.TrimRight(u.String(), "/"), vhost, guessed}, nil
}

// managedQueue is what the API tells of a queue.
type managedQueue struct {
	Name    string `json:"name"`
	Unacked *int   `json:"messages_unacknowledged"` // absent: not counted yet
}

// queues lists the queues of the virtual host.
func (m *management) queues(ctx context.Context) (queues []managedQueue, err error) {
	ctx, cancel := context.WithTimeout(ctx, managementTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		m.base+"/api/queues/"+url.PathEscape(m.vhost)+"?columns=name,messages_unacknowledged", nil)
	if err != nil {
		return nil, fail.Usagef("", "--management-url: not the base URL of a management API")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return nil, unreachable("management API", unwrapURL(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fail.New(fail.Unreachable, "check --management-url, and that its user may monitor the virtual host "+m.vhost,
			"the management API answers %s", res.Status)
	}
	if err := json.NewDecoder(res.Body).Decode(&queues); err != nil {
		return nil, fmt.Errorf("read the answer of the management API: %w", err)
	}
	return queues, nil
}

// unacked adds up the unacknowledged messages of some queues; negative: the API
// has not counted one of them yet.
func (m *management) unacked(ctx context.Context, names map[string]bool) (int, error) {
	queues, err := m.queues(ctx)
	if err != nil {
		if m.guessed && ctx.Err() == nil {
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
