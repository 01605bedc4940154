package devbroker_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// managed is a broker with its management API, and a virtual host of the test's own.
type managed struct {
	*testing.T
	url, api string
	real     bool
	prefix   string
}

// onManaged runs a test against both brokers with their management APIs.
func onManaged(t *testing.T, test func(*managed)) {
	t.Parallel()
	t.Run("devbroker", func(t *testing.T) {
		t.Parallel()
		b := devbroker.NewTest(t, func(c *devbroker.Config) { c.ManagementAddr = "127.0.0.1:0" })
		test(&managed{T: t, url: b.URL(), api: b.ManagementURL(), prefix: "devbroker.test"})
	})
	t.Run("RabbitMQ", func(t *testing.T) {
		t.Parallel()
		url, api := testenv.RabbitMQManaged(t)
		test(&managed{T: t, url: url, api: api, real: true, prefix: fmt.Sprintf("devbroker.test.%d.%d", os.Getpid(), names.Add(1))})
	})
}

// name makes a name that no other test has.
func (m *managed) name(s string) string { return m.prefix + "." + s }

func (m *managed) ownVHost() string {
	u, err := url.Parse(m.url)
	if err != nil {
		m.Fatal(err)
	}
	if vhost := strings.TrimPrefix(u.Path, "/"); vhost != "" {
		return vhost
	}
	return "/"
}

// call sends a request and reads the answer into out, if that is not nil.
func (m *managed) call(method, path string, body, out any) (status int) {
	m.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		m.Fatal(err)
	}
	req, err := http.NewRequestWithContext(m.Context(), method, strings.TrimSuffix(m.api, "/")+"/api/"+path, bytes.NewReader(text))
	if err != nil {
		m.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		m.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		m.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			m.Fatalf("%s %s: %s: %s: %v", method, path, res.Status, answer, err)
		}
	}
	return res.StatusCode
}

func (m *managed) done(status int) {
	m.Helper()
	if status/100 != 2 {
		m.Fatalf("status %d", status)
	}
}

func (m *managed) delete(path string) { m.Helper(); m.done(m.call(http.MethodDelete, path, nil, nil)) }

func (m *managed) vhost(name string) {
	m.Helper()
	m.done(m.call(http.MethodPut, "vhosts/"+m.name(name), nil, nil))
	m.afterwards("vhosts/" + m.name(name))
}

func (m *managed) user(name, password string) {
	m.Helper()
	m.done(m.call(http.MethodPut, "users/"+m.name(name), map[string]any{"password": password, "tags": ""}, nil))
	m.afterwards("users/" + m.name(name))
}

func (m *managed) permit(user, vhost string, p devbroker.Permissions) {
	m.Helper()
	m.done(m.call(http.MethodPut, "permissions/"+m.name(vhost)+"/"+m.name(user), map[string]any{"configure": p.Configure, "write": p.Write, "read": p.Read}, nil))
}

// afterwards deletes on a RabbitMQ that is used by other tests too.
func (m *managed) afterwards(path string) {
	if m.real {
		m.Cleanup(func() {
			req, err := http.NewRequest(http.MethodDelete, strings.TrimSuffix(m.api, "/")+"/api/"+path, nil)
			if err != nil {
				return
			}
			client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			if res, err := client.Do(req); err == nil {
				_ = res.Body.Close()
			}
		})
	}
}

// fields are some of those of an object in JSON.
func fields(o map[string]any, keys ...string) string {
	var b strings.Builder
	for _, key := range keys {
		fmt.Fprintf(&b, "%s=%v ", key, o[key])
	}
	return strings.TrimSpace(b.String())
}

func TestManagementQueues(t *testing.T) {
	onManaged(t, func(m *managed) {
		vhost := url.PathEscape(m.ownVHost())
		if status := m.call(http.MethodGet, "queues/"+vhost+"/q", nil, nil); status != http.StatusNotFound {
			m.Errorf("a missing queue: %d", status)
		}
		arguments := map[string]any{"x-max-length": 5, "x-queue-type": "quorum"}
		for _, want := range []int{http.StatusCreated, http.StatusNoContent} {
			if status := m.call(http.MethodPut, "queues/"+vhost+"/q", map[string]any{"durable": true, "arguments": arguments}, nil); status != want {
				m.Errorf("put: %d, want %d", status, want)
			}
		}
		var failed map[string]any
		if status := m.call(http.MethodPut, "queues/"+vhost+"/q", map[string]any{"durable": true}, &failed); status != http.StatusBadRequest || failed["error"] != "bad_request" {
			m.Errorf("put otherwise: %d %v", status, failed)
		}
		m.done(m.call(http.MethodPut, "exchanges/"+vhost+"/x", map[string]any{"type": "topic"}, nil))
		if status := m.call(http.MethodPost, "bindings/"+vhost+"/e/x/q/q", map[string]any{"routing_key": "a.#"}, nil); status != http.StatusCreated {
			m.Errorf("bind: %d", status)
		}
		publish := func(key string) bool {
			var answer struct{ Routed bool }
			m.done(m.call(http.MethodPost, "exchanges/"+vhost+"/x/publish", map[string]any{
				"routing_key": key, "payload": "hello", "payload_encoding": "string",
				"properties": map[string]any{"delivery_mode": 2, "message_id": "m", "headers": map[string]any{"h": 1}},
			}, &answer))
			return answer.Routed
		}
		if !publish("a.b") || publish("b") {
			m.Error("routing is not told")
		}
		if !m.real { // what the protocol cannot carry
			long := map[string]any{strings.Repeat("h", 256): 1}
			for path, body := range map[string]map[string]any{
				"exchanges/" + vhost + "/x/publish": {"routing_key": "a.b", "properties": map[string]any{"headers": map[string]any{"in": []any{long}}}},
				"bindings/" + vhost + "/e/x/q/q":    {"routing_key": "b", "arguments": long},
			} {
				if status := m.call(http.MethodPost, path, body, nil); status != http.StatusBadRequest {
					m.Errorf("%s with a name of 256 bytes: %d", path, status)
				}
			}
			body := map[string]any{"routing_key": "a.b", "properties": map[string]any{"priority": 300}}
			if status := m.call(http.MethodPost, "exchanges/"+vhost+"/x/publish", body, nil); status != http.StatusBadRequest {
				m.Errorf("priority 300: %d", status)
			}
		}
		var got []map[string]any
		m.eventually("the message", func() bool {
			m.done(m.call(http.MethodPost, "queues/"+vhost+"/q/get", map[string]any{"count": 5, "ackmode": "ack_requeue_false", "encoding": "auto"}, &got))
			return len(got) == 1
		})
		if have := fields(got[0], "payload", "payload_encoding", "redelivered", "exchange", "routing_key", "message_count"); have != "payload=hello payload_encoding=string redelivered=false exchange=x routing_key=a.b message_count=0" {
			m.Errorf("got %s", have)
		}
		if have := fields(got[0]["properties"].(map[string]any), "delivery_mode", "message_id", "headers"); have != "delivery_mode=2 message_id=m headers=map[h:1 x-delivery-count:0]" {
			m.Errorf("properties %s", have)
		}
		var bindings []map[string]any
		m.done(m.call(http.MethodGet, "queues/"+vhost+"/q/bindings", nil, &bindings))
		if len(bindings) != 2 || fields(bindings[1], "source", "destination", "destination_type", "routing_key", "properties_key") != "source=x destination=q destination_type=queue routing_key=a.# properties_key=a.%23" {
			m.Errorf("bindings %v", bindings)
		}
		m.eventually("the queue to be listed", func() bool {
			var q map[string]any
			m.done(m.call(http.MethodGet, "queues/"+vhost+"/q", nil, &q))
			return fields(q, "name", "vhost", "type", "durable", "messages", "consumers") == "name=q vhost="+m.ownVHost()+" type=quorum durable=true messages=0 consumers=0"
		})
		var definitions struct{ Queues, Exchanges, Bindings []map[string]any }
		m.done(m.call(http.MethodGet, "definitions/"+vhost, nil, &definitions))
		if len(definitions.Queues) != 1 || len(definitions.Exchanges) != 1 || len(definitions.Bindings) != 1 {
			m.Errorf("definitions %+v", definitions)
		}
		m.delete("queues/" + vhost + "/q")
		m.delete("exchanges/" + vhost + "/x")
	})
}

func (m *managed) eventually(what string, condition func() bool) {
	m.Helper()
	eventually(m.T, what, condition)
}

func TestManagementConnections(t *testing.T) {
	onManaged(t, func(m *managed) {
		s := connect(m.T, m.url, m.real)
		conn := s.dial(amqp.Config{Properties: amqp.Table{"connection_name": m.name("mine")}})
		closed := conn.NotifyClose(make(chan *amqp.Error, 1))
		var name string
		// RabbitMQ lists a connection some seconds after it was made.
		eventually(m.T, "the connection to be listed", func() bool {
			var all []map[string]any
			m.done(m.call(http.MethodGet, "connections/", nil, &all))
			at := slices.IndexFunc(all, func(o map[string]any) bool { return o["user_provided_name"] == m.name("mine") })
			if at < 0 {
				return false
			}
			name, _ = all[at]["name"].(string)
			return fields(all[at], "user", "vhost", "protocol", "state") == "user=guest vhost="+m.ownVHost()+" protocol=AMQP 0-9-1 state=running"
		})
		m.delete("connections/" + url.PathEscape(name))
		if e := await(m.T, "the connection to be closed", closed); e == nil || e.Code != 320 || e.Reason != "CONNECTION_FORCED - Closed via management plugin" {
			m.Errorf("closed with %v", e)
		}
		if status := m.call(http.MethodDelete, "connections/nobody", nil, nil); status != http.StatusNotFound {
			m.Errorf("an unknown connection: %d", status)
		}
	})
}

func TestManagementHealthChecks(t *testing.T) {
	onManaged(t, func(m *managed) {
		for _, path := range []string{
			"aliveness-test/" + url.PathEscape(m.ownVHost()), "health/checks/alarms", "health/checks/local-alarms", "health/checks/virtual-hosts",
			"health/checks/node-is-quorum-critical", "health/checks/protocol-listener/amqp",
		} {
			// While another test makes a virtual host, that one is down.
			eventually(m.T, path+" to be ok", func() bool {
				var answer map[string]any
				return m.call(http.MethodGet, path, nil, &answer) == http.StatusOK && answer["status"] == "ok"
			})
		}
		var overview, me map[string]any
		m.done(m.call(http.MethodGet, "overview", nil, &overview))
		if have := fields(overview, "product_name", "rabbitmq_version"); !strings.HasPrefix(have, "product_name=RabbitMQ rabbitmq_version=3.10.") && !m.real {
			m.Errorf("overview %s", have)
		}
		for _, key := range []string{"object_totals", "queue_totals", "listeners", "exchange_types", "cluster_name", "node"} {
			if overview[key] == nil {
				m.Errorf("no %s in the overview", key)
			}
		}
		m.done(m.call(http.MethodGet, "whoami", nil, &me))
		if have := fields(me, "name", "tags"); have != "name=guest tags=[administrator]" {
			m.Errorf("whoami %s", have)
		}
		m.user("nobody", "secret")
		// A user without a password cannot log in; a hash is in RabbitMQ's format: of "test12" here.
		hash := "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
		for given, in := range map[string]bool{"": false, hash: true} {
			m.done(m.call(http.MethodPut, "users/"+m.name("hashed"), map[string]any{"password_hash": given, "tags": ""}, nil))
			m.done(m.call(http.MethodPut, "permissions/"+url.PathEscape(m.ownVHost())+"/"+m.name("hashed"), map[string]any{"configure": "", "write": "", "read": ""}, nil))
			conn, err := amqp.Dial(as(m.T, m.url, m.name("hashed"), "test12", m.ownVHost()))
			if (err == nil) != in {
				m.Errorf("password hash %q: %v", given, err)
			}
			if err == nil {
				_ = conn.Close()
			}
		}
		m.delete("users/" + m.name("hashed"))
		stranger := *m
		for password, reason := range map[string]string{"wrong": "Login failed", "secret": "Not management user"} {
			u, err := url.Parse(m.api)
			if err != nil {
				m.Fatal(err)
			}
			u.User = url.UserPassword(m.name("nobody"), password)
			stranger.api = u.String()
			var answer map[string]any
			if status := stranger.call(http.MethodGet, "overview", nil, &answer); status != http.StatusUnauthorized || answer["reason"] != reason && !m.real {
				m.Errorf("%s: %d %v", password, status, answer)
			}
		}
	})
}

// TestManagementAlarm: health checks report an alarm, and the API goes down and up with the broker.
func TestManagementAlarm(t *testing.T) {
	b := devbroker.NewTest(t, func(c *devbroker.Config) { c.ManagementAddr, c.MemoryLimit = "127.0.0.1:0", 1000 })
	m := &managed{T: t, url: b.URL(), api: b.ManagementURL()}
	newSession(t, b.URL()).queue(nil)
	eventually(t, "the alarm", func() bool { return b.Stats().Blocked })
	var answer map[string]any
	if status := m.call(http.MethodGet, "health/checks/alarms", nil, &answer); status != http.StatusServiceUnavailable || answer["status"] != "failed" {
		t.Errorf("%d %v", status, answer)
	}
	if err := b.Down(); err != nil {
		t.Fatal(err)
	}
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	if res, err := client.Get(m.api); err == nil {
		_ = res.Body.Close()
		t.Error("the management API is still there")
	}
	if err := b.Up(); err != nil {
		t.Fatal(err)
	}
	m.done(m.call(http.MethodGet, "whoami", nil, nil))
	if n := b.CloseConnections("enough", func(c devbroker.Connection) bool { return c.User == "guest" }); n != len(b.Connections()) {
		t.Errorf("closed %d", n)
	}
}
