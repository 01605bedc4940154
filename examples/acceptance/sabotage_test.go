package acceptance

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/examples/auth"
	"github.com/asimalizada/pulse-events/examples/auth/authtest"
	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// TestEveryCheckCanFail stands between the suite and services that keep every
// promise, and breaks one promise at a time.
func TestEveryCheckCanFail(t *testing.T) {
	whole := startServices(t)
	v, err := newVisitor(whole)
	if err != nil {
		t.Fatal(err)
	}
	defer v.client.CloseIdleConnections()
	failing := func(v *visitor, only []string) (names []string) {
		for _, c := range checks {
			if only != nil && !slices.Contains(only, c.name) {
				continue
			}
			if err := c.hold(t.Context(), v); err != nil {
				names = append(names, c.name)
				t.Logf("%s:\n%v", c.name, err)
			}
		}
		return names
	}
	if names := failing(v, nil); names != nil {
		t.Fatalf("with nothing broken, these fail: %q", names)
	}
	found := make(map[string]bool)
	for _, s := range sabotages {
		t.Run(s.name, func(t *testing.T) {
			broken := *v
			broken.Patience = time.Second
			if s.orders != nil {
				broken.OrdersURL = between(t, v.OrdersURL, *s.orders)
			}
			if s.notifications != nil {
				broken.NotificationsURL = between(t, v.NotificationsURL, *s.notifications)
			}
			if s.target != nil {
				s.target(t, &broken.Target)
			}
			if got := failing(&broken, s.fails); !slices.Equal(got, s.fails) {
				t.Errorf("%q fail, want %q", got, s.fails)
			}
		})
		for _, name := range s.fails {
			found[name] = true
		}
	}
	for _, c := range checks {
		if !found[c.name] {
			t.Errorf("nothing is broken that %q would notice", c.name)
		}
	}
}

// sabotage breaks promises. Only the checks that have to fail are run.
type sabotage struct {
	name                  string
	orders, notifications *meddler
	target                func(*testing.T, *Target)
	fails                 []string // in the order of checks
}

// meddler changes what passes between client and service.
type meddler struct {
	request  func(*http.Request)
	response func(*http.Response)
}

func dropHeader(name string) *meddler {
	return &meddler{request: func(r *http.Request) { r.Header.Del(name) }}
}

var sabotages = []sabotage{
	{name: "the answer has lost an id", fails: []string{"an order is answered with its three ids"},
		orders: replace(`"eventId"`, `"event"`)},
	{name: "a field is renamed", fails: []string{"orders can be read"},
		orders: replace(`"createdAt"`, `"created"`)},
	{name: "amounts are rounded", fails: []string{"amounts are exact"},
		orders: replace(`.29,`, `.3,`)},
	{name: "fields are not named", fails: []string{"bad orders are refused, every bad field named", "other bad requests are refused"},
		orders: replace(`"field":"`, `"field":"order.`)},
	{name: "everything is forgiven", fails: []string{"bad orders are refused, every bad field named", "other bad requests are refused"},
		orders: &meddler{response: func(r *http.Response) { r.StatusCode = http.StatusOK }}},
	{name: "a refusal repeats what was sent", fails: []string{"refusals stay small"},
		orders: &meddler{response: func(r *http.Response) {
			rewrite(r, func(body string) string { return body + strings.Repeat(" ", maxRefusal) })
		}}},
	{name: "every token may do everything", fails: []string{"callers without a valid token are refused", "callers may do what their scopes say", "callers see what is their customer's"},
		target: func(t *testing.T, target *Target) {
			target.OrdersURL = between(t, target.OrdersURL, meddler{request: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+target.Tokens[0].All) }})
		}},
	{name: "refusals are no problem documents", fails: []string{"callers without a valid token are refused", "callers may do what their scopes say", "callers see what is their customer's"},
		orders: &meddler{response: func(r *http.Response) {
			if r.Header.Get("WWW-Authenticate") != "" {
				r.Header.Set("Content-Type", "application/json")
			}
		}}},
	{name: "every origin is welcome", fails: []string{"web pages are kept out"}, orders: dropHeader("Origin")},
	{name: "every host is the service's", fails: []string{"web pages are kept out"}, notifications: &meddler{request: func(r *http.Request) { r.Host = "" }}},
	{name: "health tells where the broker is", fails: []string{"orders outlive an outage of the broker"},
		orders: replace(`"lastError":"`, `"lastError":"dial amqp://127.0.0.1: `)},
	{name: "correlation ids are dropped", fails: []string{"the correlation id is taken over or made"},
		orders: dropHeader("x-correlation-id")},
	{name: "keys are dropped", fails: []string{"an idempotency key makes asking again safe", "many at once under one key place one order"},
		orders: dropHeader(keyHeader)},
	{name: "readiness hangs on the broker", fails: []string{"the services tell how they are"},
		orders: replace(`"status":"ready"`, `"status":"unready"`)},
	{name: "every notification comes twice", fails: []string{"an order brings one notification", "one notification however often the message comes"},
		notifications: &meddler{response: func(r *http.Response) {
			rewrite(r, func(body string) string {
				if list := strings.TrimSpace(body); strings.HasPrefix(list, "[{") {
					inner := list[1 : len(list)-1]
					return "[" + inner + "," + inner + "]"
				}
				return body
			})
		}}},
	{name: "the event goes elsewhere", fails: []string{"the event is published as the contract has it", "a refused order publishes nothing"},
		target: func(_ *testing.T, target *Target) { target.Exchange = "amq.topic" }},
	{name: "the event tells of another order", fails: []string{"the event is published as the contract has it"},
		orders: &meddler{request: func(r *http.Request) {
			if r.Method == http.MethodPost {
				setBody(r, `{"customerId":"acceptance-customer","amount":78}`)
			}
		}}},
	{name: "nothing is stopped", fails: []string{"orders outlive an outage of the broker"},
		target: func(_ *testing.T, target *Target) {
			target.StopBroker = func(context.Context) error { return nil }
			target.StartBroker = target.StopBroker
		}},
	{name: "orders are refused while the broker is down", fails: []string{"orders outlive an outage of the broker"},
		target: func(t *testing.T, target *Target) {
			var down atomic.Bool
			stop, start, orders := target.StopBroker, target.StartBroker, proxy(target.OrdersURL, meddler{})
			target.StopBroker = func(ctx context.Context) error { down.Store(true); return stop(ctx) }
			target.StartBroker = func(ctx context.Context) error { down.Store(false); return start(ctx) }
			gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if down.Load() {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				orders.ServeHTTP(w, r)
			}))
			t.Cleanup(gate.Close)
			target.OrdersURL = gate.URL
		}},
}

func replace(old, new string) *meddler {
	return &meddler{response: func(r *http.Response) {
		rewrite(r, func(body string) string { return strings.ReplaceAll(body, old, new) })
	}}
}

func rewrite(r *http.Response, change func(string) string) {
	body, _ := io.ReadAll(r.Body)
	_ = r.Body.Close()
	changed := change(string(body))
	r.Body = io.NopCloser(strings.NewReader(changed))
	r.ContentLength = int64(len(changed))
	r.Header.Set("Content-Length", strconv.Itoa(len(changed)))
}

func setBody(r *http.Request, body string) {
	r.Body = io.NopCloser(bytes.NewReader([]byte(body)))
	r.ContentLength = int64(len(body))
}

// between runs a proxy to base that meddles, until the test ends.
func between(t *testing.T, base string, m meddler) string {
	t.Helper()
	server := httptest.NewServer(proxy(base, m))
	t.Cleanup(server.Close)
	return server.URL
}

func proxy(base string, m meddler) http.Handler {
	target, err := url.Parse(base)
	if err != nil {
		panic(err)
	}
	return &httputil.ReverseProxy{
		Transport: &http.Transport{DisableKeepAlives: true},
		ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			if m.request != nil {
				m.request(r.Out)
			}
		},
		ModifyResponse: func(r *http.Response) error {
			if m.response != nil {
				m.response(r)
			}
			return nil
		},
	}
}

// startServices runs services that keep every promise, in this process.
func startServices(t *testing.T) Target {
	t.Helper()
	var tokens []Tokens
	b := devbroker.NewTest(t)
	base := stdlib.Settings{AMQPURL: b.URL(), AutoMigrate: true, Logger: slog.New(slog.DiscardHandler)}
	base.Auth, tokens = verifier(t)
	settings := func(name string) stdlib.Settings {
		s := base
		s.DatabaseURL = sqlstore.SQLiteURL(filepath.Join(t.TempDir(), name+".db"))
		return s
	}
	orders, err := stdlib.NewOrders(stdlib.OrdersConfig{Settings: settings("orders")})
	if err != nil {
		t.Fatal(err)
	}
	notifications, err := stdlib.NewNotifications(stdlib.NotificationsConfig{Settings: settings("notifications")})
	if err != nil {
		t.Fatal(err)
	}
	return Target{
		Tokens:    tokens,
		OrdersURL: serve(t, orders.Run), NotificationsURL: serve(t, notifications.Run), AMQPURL: b.URL(),
		StopBroker:  func(context.Context) error { return b.Inject(devbroker.Fault{Kind: devbroker.FaultDown}) },
		StartBroker: func(context.Context) error { return b.Clear(devbroker.FaultDown) },
	}
}

// verifier takes tokens of a file.
func verifier(t *testing.T) (*auth.Verifier, []Tokens) {
	t.Helper()
	lines := ""
	tokens := Tokens{
		All:        authtest.NewToken(t, &lines, auth.Token{Name: "all"}),
		ReadOnly:   authtest.NewToken(t, &lines, auth.Token{Name: "reader", Scopes: []string{auth.OrdersRead, auth.NotificationsRead}}),
		OfCustomer: authtest.NewToken(t, &lines, auth.Token{Name: "customer", Customer: "acceptance-customer"}),
		Expired:    authtest.NewToken(t, &lines, auth.Token{Name: "expired", Expires: time.Now().Add(-time.Second)}),
	}
	list, err := auth.ParseTokens(lines)
	if err != nil {
		t.Fatal(err)
	}
	v, err := auth.New(auth.Config{Tokens: list, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return v, []Tokens{tokens}
}

// serve runs a service until the test ends. Its listener takes connections
// from now on.
func serve(t *testing.T, run func(context.Context, net.Listener) error) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return "http://" + ln.Addr().String()
}
