package web

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// visitor is a browser without JavaScript.
type visitor struct {
	t      *testing.T
	client *http.Client
	url    string
}

// startPage runs an embedded stack and its page.
func startPage(t *testing.T) *visitor {
	t.Helper()
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan stack.State, 1), make(chan error, 2)
	go func() {
		ended <- stack.RunEmbedded(ctx, stack.Config{
			Dir: filepath.Join(dir, "state"), DataDir: filepath.Join(dir, "data"), Getenv: func(string) string { return "" },
			BrokerAddr: anyPort, OrdersAddr: anyPort, NotificationsAddr: anyPort, Logger: log,
		}, func(s stack.State) { ready <- s })
	}()
	ln, err := Listen("ui-addr", anyPort, true)
	if err != nil {
		t.Fatal(err)
	}
	var s stack.State
	select {
	case s = <-ready:
	case err := <-ended:
		t.Fatalf("the stack: %v", err)
	}
	e := &env.Env{IO: (&console.IO{Now: time.Now}).Silent(), Getenv: func(string) string { return "" }}
	go func() { ended <- ServeStack(ctx, ln, e, s, log) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t: t, client: &http.Client{Jar: jar}, url: strings.TrimSuffix(URL(ln), "/")}
}

func (v *visitor) read(res *http.Response, err error) (int, string) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// sees loads a path until it contains a text.
func (v *visitor) sees(path, text string) (body string) {
	v.t.Helper()
	testenv.Eventually(v.t, time.Minute, text+" on "+path, func() bool {
		_, body = v.read(v.client.Get(v.url + path))
		return strings.Contains(body, text)
	})
	return body
}

var tokenField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// sends sends a form of the overview, and returns the page after it.
func (v *visitor) sends(path string, status int, fields ...string) string {
	v.t.Helper()
	form := url.Values{"csrf": {tokenField.FindStringSubmatch(v.sees("/", "csrf"))[1]}, "confirm": {"yes"}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	got, body := v.read(v.client.PostForm(v.url+path, form))
	if got != status {
		v.t.Errorf("%s %v: status %d, want %d\n%s", path, fields, got, status, body)
	}
	return body
}

// An outage of the broker and one of the handler begin and heal on the page.
func TestStackPage(t *testing.T) {
	v := startPage(t)
	order := []string{"customer", "customer-1", "amount", "12.5"}
	if body := v.sends("/orders", http.StatusOK, order...); !strings.Contains(body, "The order was placed") {
		t.Errorf("placed:\n%s", body)
	}
	v.sees("/", "1 published")
	v.sends("/orders", http.StatusBadRequest, "customer", "c", "amount", "much")
	v.sends("/orders", http.StatusBadRequest, "customer", "", "amount", "1")
	v.sends("/break/nothing/begin", http.StatusBadRequest)
	v.sends("/break/broker-restart/end", http.StatusBadRequest)

	v.sends("/break/broker-down/begin", http.StatusOK)
	v.sees("/", "broker-down, since")
	v.sees("/", "the broker does not answer")
	v.sends("/orders", http.StatusOK, order...)
	v.sees("/outbox?status=pending", "1 match")
	v.sees("/workers", "cannot reach the broker")
	v.sends("/break/broker-down/end", http.StatusOK)
	v.sees("/", "2 published")

	v.sends("/break/poison/begin", http.StatusOK)
	v.sends("/orders", http.StatusOK, order...)
	v.sees("/deadletters", "cannot render the notification")
	if body := v.sends("/deadletters/heal", http.StatusOK); !strings.Contains(body, "failed again") || !strings.Contains(body, "1 letter sent, 0 applied") {
		t.Errorf("healed too early:\n%s", body)
	}
	v.sends("/break/poison/end", http.StatusOK)
	v.sees("/deadletters", "cannot render the notification") // it is back
	if body := v.sends("/deadletters/heal", http.StatusOK); !strings.Contains(body, "1 letter sent, 1 applied, 0 left.") {
		t.Errorf("healed:\n%s", body)
	}
	v.sees("/", "Nothing is wrong.")
	v.sees("/audit", "dlq heal")
}
