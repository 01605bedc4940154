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

// RabbitMQ returns the URL (amqp://…) of a fresh virtual host of the test's
// own, in which the URL's user may do everything; it is deleted when the test
// ends, with whatever connections are still open. Where the server was given
// by URL without its management API, that URL is returned as it is: tests
// therefore take the names of what they declare from UniqueName.
func RabbitMQ(t testing.TB) string {
	t.Helper()
	server, management := os.Getenv(AMQPVariable), os.Getenv(ManagementVariable)
	if server != "" && management == "" {
		return server
	}
	if server == "" {
		endpoints := shared(t, needRabbitMQ, protocol.ManagedRabbitMQ)
		server, management = endpoints.URL, endpoints.ManagementURL
	}
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

// manage sends one request to RabbitMQ's management API. It keeps no
// connection, so that leak checks of tests have nothing to find.
func manage(ctx context.Context, base, method, path string, body any) error {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(base, "/")+path, content)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, text)
	}
	return nil
}
