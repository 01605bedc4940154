package testenv

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// RabbitMQ returns the URL (amqp://…) of a new virtual host for one test, in
// which the URL's user has all permissions; it is deleted when the test ends,
// with all connections that are still open. If the server was given by URL
// without its management API, that URL is returned unchanged: so tests take the
// names of what they declare from UniqueName.
func RabbitMQ(t testing.TB) string {
	t.Helper()
	server, management := endpoints(t)
	if management == "" {
		return server
	}
	return virtualHost(t, server, management)
}

// RabbitMQManaged is RabbitMQ and also returns the address of the server's
// management API (http://user:password@host:port/). A server that was given
// without it is missing, as the package comment has it.
func RabbitMQManaged(t testing.TB) (server, management string) {
	t.Helper()
	server, management = managed(t)
	return virtualHost(t, server, management), management
}

// virtualHost makes a virtual host for the test and returns its URL.
func virtualHost(t testing.TB, server, management string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("testenv: %s: %v", AMQPVariable, err)
	}
	vhost := "pulse-" + suffix()
	ctx, cancel := context.WithTimeout(t.Context(), setupLimit)
	defer cancel()
	if err := manage(ctx, management, http.MethodPut, "/api/vhosts/"+vhost, nil); err != nil {
		t.Fatalf("testenv: make a virtual host for the test: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := cleanupContext()
		defer cancel()
		if err := manage(ctx, management, http.MethodDelete, "/api/vhosts/"+vhost, nil); err != nil {
			t.Errorf("testenv: delete the test's virtual host: %v", err)
		}
	})
	all := map[string]string{"configure": ".*", "write": ".*", "read": ".*"}
	if err := manage(ctx, management, http.MethodPut, "/api/permissions/"+vhost+"/"+url.PathEscape(u.User.Username()), all); err != nil {
		t.Fatalf("testenv: give %s the test's virtual host: %v", u.User.Username(), err)
	}
	u.Path, u.RawPath = "/"+vhost, ""
	return u.String()
}

// managed returns the AMQP URL of the shared server and the URL of its
// management API, without which the test gives up.
func managed(t testing.TB) (server, management string) {
	t.Helper()
	if server, management = endpoints(t); management == "" {
		giveUp(t, needRabbitMQ, errNoManagement)
	}
	return server, management
}

var errNoManagement = fmt.Errorf("the management API of the server given by %s is %w: %s is not set", AMQPVariable, protocol.ErrUnavailable, ManagementVariable)

// endpoints returns the AMQP URL of the shared server and the URL of its
// management API, or "" if that was not given.
func endpoints(t testing.TB) (server, management string) {
	t.Helper()
	if server = os.Getenv(AMQPVariable); server != "" {
		return server, os.Getenv(ManagementVariable)
	}
	found := shared(t, needRabbitMQ, protocol.ManagedRabbitMQ)
	return found.URL, found.ManagementURL
}

// Management returns the base URL of the management API of the shared server. One
// that was given without it is missing, as the package comment has it.
func Management(t testing.TB) string {
	t.Helper()
	_, management := managed(t)
	return management
}

// RabbitMQUser is a user of RabbitMQ for one test, deleted when the test ends.
// Its methods fail the test themselves, and must be called in its goroutine.
type RabbitMQUser struct {
	t                      testing.TB
	management, name, host string
	vhost                  string
	password               string
	deleted                bool
}

// NewRabbitMQUser creates a user with all permissions in the virtual host of
// amqpURL, which RabbitMQ has returned. A server that was given without its
// management API is missing, as the package comment has it.
func NewRabbitMQUser(t testing.TB, amqpURL string) *RabbitMQUser {
	t.Helper()
	_, management := managed(t)
	parsed, err := url.Parse(amqpURL)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	u := &RabbitMQUser{t: t, management: management, name: "pulse-" + suffix(), host: parsed.Host, vhost: strings.TrimPrefix(parsed.Path, "/")}
	t.Cleanup(func() {
		if u.deleted {
			return
		}
		ctx, cancel := cleanupContext()
		defer cancel()
		if err := manage(ctx, management, http.MethodDelete, "/api/users/"+u.name, nil); err != nil {
			t.Errorf("testenv: delete the test's user: %v", err)
		}
	})
	u.SetPassword("first/" + suffix())
	u.SetPermissions(".*", ".*", ".*")
	return u
}

// SetPermissions changes what the user may do in the virtual host.
func (u *RabbitMQUser) SetPermissions(configure, write, read string) {
	u.t.Helper()
	u.do(http.MethodPut, "/api/permissions/"+url.PathEscape(u.vhost)+"/"+u.name, map[string]string{"configure": configure, "write": write, "read": read})
}

// Delete deletes the user, until SetPassword and SetPermissions make it again.
func (u *RabbitMQUser) Delete() {
	u.t.Helper()
	u.do(http.MethodDelete, "/api/users/"+u.name, nil)
	u.deleted = true
}

// URL returns the URL of the virtual host with the user's current password.
func (u *RabbitMQUser) URL() string {
	return (&url.URL{Scheme: "amqp", User: url.UserPassword(u.name, u.password), Host: u.host, Path: "/" + u.vhost}).String()
}

// Credentials returns the user's name and its current password.
func (u *RabbitMQUser) Credentials() (name, password string) { return u.name, u.password }

// SetPassword changes the password; open connections stay open.
func (u *RabbitMQUser) SetPassword(password string) {
	u.t.Helper()
	u.do(http.MethodPut, "/api/users/"+u.name, map[string]string{"password": password, "tags": ""})
	u.password, u.deleted = password, false
}

// Disconnect closes every connection of the user. The management API hears of a new
// connection late: it waits for one.
func (u *RabbitMQUser) Disconnect() {
	u.t.Helper()
	path := "/api/connections/username/" + u.name
	Eventually(u.t, setupLimit, "the server to list a connection of the user", func() bool {
		text, err := ask(u.t.Context(), u.management, http.MethodGet, path, nil)
		return err == nil && strings.TrimSpace(string(text)) != "[]"
	})
	u.do(http.MethodDelete, path, nil)
}

func (u *RabbitMQUser) do(method, path string, body any) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), setupLimit)
	defer cancel()
	if err := manage(ctx, u.management, method, path, body); err != nil {
		u.t.Fatalf("testenv: %v", err)
	}
}

// SetPolicy sets a policy on the queues of a test's virtual host, as an
// operator does: pattern matches their names, and definition is for example
// {"delivery-limit": 2}. amqpURL is what RabbitMQ returned. The returned
// function removes the policy; so does the end of the test. A server that was given
// without its management API is missing, as the package comment has it.
func SetPolicy(t testing.TB, amqpURL, pattern string, definition map[string]any) (remove func()) {
	t.Helper()
	management := Management(t)
	u, err := url.Parse(amqpURL)
	if err != nil {
		t.Fatal(err)
	}
	policy := map[string]any{"pattern": pattern, "definition": definition, "apply-to": "queues"}
	path := "/api/policies/" + url.PathEscape(strings.TrimPrefix(u.Path, "/")) + "/" + suffix()
	if err := manage(t.Context(), management, http.MethodPut, path, policy); err != nil {
		t.Fatalf("testenv: set a policy: %v", err)
	}
	return func() {
		t.Helper()
		if err := manage(t.Context(), management, http.MethodDelete, path, nil); err != nil {
			t.Fatalf("testenv: remove a policy: %v", err)
		}
	}
}

// manage sends one request to RabbitMQ's management API. It keeps no connection
// open, so that leak checks of tests find none.
func manage(ctx context.Context, base, method, path string, body any) error {
	_, err := ask(ctx, base, method, path, body)
	return err
}

// ask is manage and returns the answer.
func ask(ctx context.Context, base, method, path string, body any) (answer []byte, err error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base, "/")+path, content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, res.Status, text)
	}
	return text, nil
}
