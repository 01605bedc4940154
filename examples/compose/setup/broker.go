package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/asimalizada/pulse-events/examples/notifications"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox/roles"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// broker is a virtual host of RabbitMQ, by the server's management API.
type broker struct {
	management string // http://host:port
	vhost      string
	admin      *url.Userinfo
	users      map[string]*url.Userinfo // of the services
	log        *slog.Logger
}

// brokerRoles has the role of each service in the broker.
var brokerRoles = map[string]string{ordersService: "relay", notificationsService: "consumer"}

// Limits of one request to the management API, and of what is read of an answer.
const (
	requestLimit = 20 * time.Second
	answerLimit  = 1 << 20
)

// refusal is an answer that will be the same next time.
type refusal struct{ what, status, text string }

func (r refusal) Error() string { return fmt.Sprintf("%s: %s: %s", r.what, r.status, r.text) }

// setUp waits for the broker, which nothing else waits for.
func (b *broker) setUp(ctx context.Context) error {
	for tries := 0; ; tries++ {
		err := b.trySetUp(ctx)
		if _, final := errors.AsType[refusal](err); err == nil || final {
			return err
		}
		if tries == 0 {
			b.log.InfoContext(ctx, "waiting for the broker", "error", err)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("the broker's management API does not answer: %w", err)
		}
	}
}

// trySetUp makes what users need before the users: what is there is kept.
func (b *broker) trySetUp(ctx context.Context) error {
	var overview struct {
		Version string `json:"rabbitmq_version"`
	}
	if err := b.do(ctx, http.MethodGet, "overview", nil, &overview); err != nil {
		return err
	}
	queue := notifications.OrderCreatedTopic
	layout, err := rabbitmq.LayoutOf(rabbitmq.SourceConfig{
		URL: "amqp://localhost", Exchange: wire.Exchange, Queue: queue, Topics: []string{notifications.OrderCreatedTopic},
	}, overview.Version)
	if err != nil {
		return err
	}
	definitions, err := layout.Definitions(b.vhost)
	if err != nil {
		return err
	}
	if err := b.do(ctx, http.MethodPost, "definitions/"+url.PathEscape(b.vhost), json.RawMessage(definitions), nil); err != nil {
		return err
	}
	permissions := roles.Permissions(wire.Exchange, queue)
	for service, role := range brokerRoles {
		password, _ := b.users[service].Password()
		user := url.PathEscape(b.users[service].Username())
		if err := b.do(ctx, http.MethodPut, "users/"+user, map[string]string{"password": password, "tags": ""}, nil); err != nil {
			return err
		}
		may := permissions[slices.IndexFunc(permissions, func(p roles.Permission) bool { return p.Role == role })]
		err := b.do(ctx, http.MethodPut, "permissions/"+url.PathEscape(b.vhost)+"/"+user,
			map[string]string{"configure": may.Configure, "write": may.Write, "read": may.Read}, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

// do sends a request and decodes the answer. The error holds nothing of the body.
func (b *broker) do(ctx context.Context, method, path string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, b.management+"/api/"+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	password, _ := b.admin.Password()
	req.SetBasicAuth(b.admin.Username(), password)
	req.Header.Set("content-type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
	switch what := method + " " + path; {
	case err != nil:
		return err
	case res.StatusCode/100 == 4:
		return refusal{what, res.Status, string(text)}
	case res.StatusCode/100 != 2:
		return fmt.Errorf("%s: %s: %s", what, res.Status, text)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(text, answer)
}
