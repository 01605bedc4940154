package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

const queue = "order.created"

// newBroker returns a virtual host for the test, and users that end with it.
func newBroker(t *testing.T) (*broker, *url.URL) {
	t.Helper()
	server, management := testenv.RabbitMQManaged(t)
	address, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	api, err := url.Parse(management)
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{
		management: "http://" + api.Host, vhost: strings.TrimPrefix(address.Path, "/"), admin: api.User, log: slog.New(slog.DiscardHandler),
		users: map[string]*url.Userinfo{},
	}
	for _, service := range []string{ordersService, notificationsService} {
		b.users[service] = url.UserPassword(testenv.UniqueName(t, service), "a"+service+"password")
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), requestLimit)
			defer cancel()
			if err := b.do(ctx, http.MethodDelete, "users/"+url.PathEscape(b.users[service].Username()), nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	return b, address
}

func TestTopology(t *testing.T) {
	t.Parallel()
	b, address := newBroker(t)
	for range 2 {
		if err := b.setUp(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	as := func(service string, do func(*amqp.Channel) error) error {
		u := *address
		u.User = b.users[service]
		conn, err := amqp.Dial(u.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ch, err := conn.Channel()
		if err != nil {
			t.Fatal(err)
		}
		return do(ch)
	}
	publish := func(exchange string) func(*amqp.Channel) error {
		return func(ch *amqp.Channel) error {
			closed := ch.NotifyClose(make(chan *amqp.Error, 1))
			if err := ch.Confirm(false); err != nil {
				return err
			}
			confirm, err := ch.PublishWithDeferredConfirm(exchange, queue, true, false, amqp.Publishing{})
			if err != nil {
				return err
			}
			select {
			case <-confirm.Done():
				return nil
			case err := <-closed:
				return err
			}
		}
	}
	get := func(from string) func(*amqp.Channel) error {
		return func(ch *amqp.Channel) error {
			_, ok, err := ch.Get(from, true)
			if err == nil && !ok {
				err = errors.New("no message")
			}
			return err
		}
	}
	declare := func(name string) func(*amqp.Channel) error {
		return func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(name, true, false, false, false, nil)
			return err
		}
	}
	if err := as(ordersService, publish(wire.Exchange)); err != nil {
		t.Errorf("orders may not publish: %v", err)
	}
	if err := as(notificationsService, get(queue)); err != nil {
		t.Errorf("notifications may not take what was published: %v", err)
	}
	for _, c := range []struct {
		service, about string
		do             func(*amqp.Channel) error
	}{
		{ordersService, "declare queues", declare("mine")},
		{ordersService, "consume", get(queue)},
		{ordersService, "publish past the exchange", publish("")},
		{notificationsService, "declare queues", declare("mine")},
		{notificationsService, "publish events", publish(wire.Exchange)},
		{notificationsService, "read dead letters", get(queue + ".dlq")},
	} {
		refusal, ok := errors.AsType[*amqp.Error](as(c.service, c.do))
		if !ok || refusal.Code != amqp.AccessRefused {
			t.Errorf("%s may %s: %v", c.service, c.about, refusal)
		}
	}
}

func TestTopologyRefused(t *testing.T) {
	t.Parallel()
	b, _ := newBroker(t)
	if err := b.setUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	wrong := *b
	wrong.admin = url.UserPassword("nobody", "secret")
	err := wrong.setUp(t.Context())
	if _, final := errors.AsType[refusal](err); !final || strings.Contains(err.Error(), "secret") {
		t.Errorf("the wrong password: %v", err)
	}
	wrong.management = "http://" + testenv.UniqueName(t, "nowhere") + ".invalid"
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := wrong.setUp(ctx); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("no broker: %v", err)
	}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, misused, "usage:"},
		{[]string{"steal"}, misused, "usage:"},
		{[]string{"migrate", "all"}, misused, "usage:"},
		{[]string{"-nonsense", "migrate"}, misused, "usage:"},
		{[]string{"-passwords", dir, "migrate"}, failed, filepath.Join(dir, "postgres.password")},
		{[]string{"-passwords", dir, "topology"}, failed, filepath.Join(dir, "broker.password")},
	} {
		var stderr strings.Builder
		if code := run(t.Context(), c.args, &stderr); code != c.code || !strings.Contains(stderr.String(), c.says) {
			t.Errorf("%q: exit code %d, want %d; %s", c.args, code, c.code, &stderr)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("it has made %v, %v", entries, err)
	}
}
