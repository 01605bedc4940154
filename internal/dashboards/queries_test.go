package main

//lint:file-ignore SA1019 The newer schema is read by Grafana 12 and later alone.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// patience is how long a test waits for what must happen.
const patience = 2 * time.Minute

// comparison is one with a number, which drops what an alert does not fire for.
var comparison = regexp.MustCompile(`(>=|<=|==|>|<) (\d)`)

// TestQueriesReturnData runs the queries of all dashboards and alerts on a
// Prometheus that scrapes the example services at work.
func TestQueriesReturnData(t *testing.T) {
	s := startServices(t)
	prometheus := testenv.Prometheus(t, fmt.Sprintf(`
global: {scrape_interval: 1s}
scrape_configs:
  - {job_name: orders, static_configs: [{targets: ['%s']}]}
  - {job_name: notifications, static_configs: [{targets: ['%s']}]}
`, s.ordersMetrics, s.notificationsMetrics))

	left := map[string]string{} // queries, by where they are
	for name := range all {
		for panel, list := range queries(t, parse(t, name)) {
			for i, q := range list {
				q = strings.NewReplacer("$job", ".*", "$__rate_interval", "30s").Replace(q)
				left[fmt.Sprintf("%s, %s, query %d", name, panel, i+1)] = q
			}
		}
	}
	for _, a := range alerts(t) {
		left[a.Alert] = comparison.ReplaceAllString(a.Expr, "$1 bool $2") // 0 where it does not fire
	}
	t.Logf("%d queries", len(left))
	deadline := time.Now().Add(patience)
	scrape := time.NewTicker(500 * time.Millisecond)
	defer scrape.Stop()
	for ; len(left) > 0; <-scrape.C {
		s.work(t) // rates are of what goes on
		for where, q := range left {
			if hasData(t, prometheus, q) {
				delete(left, where)
			}
		}
		if time.Now().After(deadline) {
			for _, where := range slices.Sorted(maps.Keys(left)) {
				t.Errorf("%s returns no data: %s", where, left[where])
			}
			return
		}
	}
	s.end(t)
}

// hasData reports whether a query returns a number. The test fails if it is wrong.
func hasData(t *testing.T, prometheus, query string) bool {
	t.Helper()
	status, text := ask(t, http.MethodGet, prometheus+"/api/v1/query?query="+url.QueryEscape(query), "")
	var answer struct {
		Data struct {
			Result []struct{ Value []any }
		}
	}
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", query, status, text)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for _, r := range answer.Data.Result {
		if r.Value[1] != "NaN" { // a quantile of nothing
			return true
		}
	}
	return false
}

// queries returns the queries of a dashboard, by panel.
func queries(t *testing.T, board dashboard.Dashboard) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, panel := range panels(t, board) {
		for _, target := range panel.Targets {
			text, err := json.Marshal(target)
			if err != nil {
				t.Fatal(err)
			}
			var q struct{ Expr string }
			if err := json.Unmarshal(text, &q); err != nil || q.Expr == "" {
				t.Fatalf("panel %q has a target without a query: %s", *panel.Title, text)
			}
			found[*panel.Title] = append(found[*panel.Title], q.Expr)
		}
	}
	return found
}

// services are the example services as programs, on PostgreSQL and RabbitMQ.
type services struct {
	orders                              string // URL
	ordersMetrics, notificationsMetrics string // addresses
	programs                            map[string]*exec.Cmd
	publisher                           *rabbitmq.Publisher
	again                               outbox.Message
}

func startServices(t *testing.T) *services {
	t.Helper()
	amqpURL := testenv.RabbitMQ(t)
	ordersDB, notificationsDB := testenv.Postgres(t), testenv.Postgres(t)
	ports := testenv.FreePorts(t, 4)
	addr := func(i int) string { return net.JoinHostPort("127.0.0.1", fmt.Sprint(ports[i])) }
	s := &services{
		orders: "http://" + addr(0), ordersMetrics: addr(2), notificationsMetrics: addr(3),
		programs: map[string]*exec.Cmd{}, again: outbox.NewMessage("order.created", []byte("{}")),
	}
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "./cmd/orders", "./cmd/notifications")
	build.Dir = filepath.Join("..", "..", "examples", "stdlib")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// The consumer first: it makes the queue.
	s.run(t, filepath.Join(dir, "notifications"), "PULSE_INBOX_DB="+notificationsDB, "PULSE_AMQP_URL="+amqpURL,
		"PULSE_NOTIFICATIONS_ADDR="+addr(1), "PULSE_METRICS_ADDR="+addr(3), "PULSE_AUTH=off")
	testenv.Eventually(t, patience, "the consumer to run", func() bool {
		return strings.Contains(s.health("http://"+addr(1)), `"state":"running"`)
	})
	s.run(t, filepath.Join(dir, "orders"), "PULSE_OUTBOX_DB="+ordersDB, "PULSE_AMQP_URL="+amqpURL,
		"PULSE_ORDERS_ADDR="+addr(0), "PULSE_METRICS_ADDR="+addr(2), "PULSE_AUTH=off")
	testenv.Eventually(t, patience, "the relay to run", func() bool {
		return strings.Contains(s.health(s.orders), `"state":"running"`)
	})
	publisher, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{URL: amqpURL, Producer: "orders", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s.publisher = publisher
	t.Cleanup(func() { publisher.Close() })
	return s
}

func (s *services) run(t *testing.T, path string, variables ...string) {
	t.Helper()
	cmd := exec.Command(path)
	cmd.Env, cmd.Stdout, cmd.Stderr = variables, t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.programs[filepath.Base(path)] = cmd
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
}

// end stops the programs, which have to end in order.
func (s *services) end(t *testing.T) {
	t.Helper()
	for name, cmd := range s.programs {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// work places an order, and publishes a message that cannot be read, and a
// further copy of one that is applied.
func (s *services) work(t *testing.T) {
	t.Helper()
	status, text := ask(t, http.MethodPost, s.orders+"/orders", `{"customerId":"customer-123","amount":77.5}`)
	var placed struct{ OrderID, EventID, CorrelationID string }
	if err := json.Unmarshal(text, &placed); status != http.StatusCreated || err != nil {
		t.Fatalf("%d %s", status, text)
	}
	if string(s.again.Payload) == "{}" {
		payload := fmt.Sprintf(`{"eventId":%q,"eventType":"OrderCreated","orderId":%q,"customerId":"customer-123","amount":77.5,"correlationId":%q,"occurredAt":"2026-01-02T03:04:05Z"}`,
			s.again.ID, placed.OrderID, placed.CorrelationID)
		s.again.Payload, s.again.Type, s.again.CorrelationID = []byte(payload), "OrderCreated", placed.CorrelationID
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	bad := outbox.NewMessage("order.created", []byte("not JSON"))
	testenv.Eventually(t, patience, "messages to be published", func() bool {
		for _, err := range s.publisher.Publish(ctx, []outbox.Message{bad, s.again}) {
			if err != nil {
				return false
			}
		}
		return true
	})
}

// health returns what a service tells of its health, or nothing.
func (s *services) health(base string) string {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	res, err := client.Get(base + "/health/ready")
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return string(text)
}

func ask(t *testing.T, method, url, body string) (status int, answer []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer
}
