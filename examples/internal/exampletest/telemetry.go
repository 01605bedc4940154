package exampletest

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// Telemetry tests that the programs serve their metrics whatever is away, and that no collector can hold them up.
func Telemetry(t *testing.T) {
	orders := build(t, "orders")
	t.Run("wrong variables", func(t *testing.T) {
		var complaint Journal
		err := runProgram(t, orders, &complaint, "OTEL_TRACES_SAMPLER=often", "OTEL_EXPORTER_OTLP_ENDPOINT=collector:4317").Wait()
		if got := exitCode(t, err); got != 2 {
			t.Errorf("exit code %d, want 2", got)
		}
		for _, want := range []string{"PULSE_OUTBOX_DB: is empty", "OTEL_TRACES_SAMPLER: ", "OTEL_EXPORTER_OTLP_ENDPOINT: "} {
			if !strings.Contains(complaint.String(), want) {
				t.Errorf("%s\ndoes not hold %q", &complaint, want)
			}
		}
	})
	t.Run("collector that hangs", func(t *testing.T) { collectorHangs(t, orders) })
	t.Run("database away", func(t *testing.T) { databaseAway(t, orders) })
}

// awaitReady waits until the service at addr is ready.
func awaitReady(t *testing.T, addr string) {
	t.Helper()
	testenv.Eventually(t, Patience, "the program to be ready", func() bool {
		client := http.Client{Timeout: time.Second}
		defer client.CloseIdleConnections()
		res, err := client.Get("http://" + addr + "/health/ready")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// end interrupts the program, which has to end in order.
func end(t *testing.T, program *exec.Cmd, logs *Journal) {
	t.Helper()
	if err := program.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- program.Wait() }()
	select {
	case err := <-ended:
		if got := exitCode(t, err); got != 0 {
			t.Errorf("exit code %d, want 0\n%s", got, logs)
		}
	case <-time.After(Patience):
		t.Fatalf("the program does not end\n%s", logs)
	}
}

// collectorHangs has a collector that takes connections, never answers, and would
// be waited for an hour.
func collectorHangs(t *testing.T, orders string) {
	collector, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer collector.Close()
	var logs Journal
	addr := freeAddr(t)
	program := runProgram(t, orders, &logs, "PULSE_OUTBOX_DB="+Bare.Database(t), "PULSE_AMQP_URL="+Bare.Broker(t),
		"PULSE_ORDERS_ADDR="+addr, "PULSE_METRICS_ADDR=off",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://"+collector.Addr().String(), "OTEL_EXPORTER_OTLP_TIMEOUT=3600000",
		"OTEL_BSP_EXPORT_TIMEOUT=3600000", "OTEL_BSP_SCHEDULE_DELAY=1", "OTEL_BSP_MAX_QUEUE_SIZE=4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=1",
		"OTEL_METRIC_EXPORT_INTERVAL=10", "OTEL_METRIC_EXPORT_TIMEOUT=3600000")
	awaitReady(t, addr)
	const placed = 50 // the queue of spans is long full
	for range placed {
		if status, body := Ask(t, http.MethodPost, "http://"+addr+"/orders", `{"customerId":"c","amount":1}`); status != http.StatusCreated {
			t.Fatalf("%d %s", status, body)
		}
	}
	testenv.Eventually(t, Patience, "the relay to go on", func() bool {
		status, h := readiness(t, "http://"+addr)
		return status == http.StatusOK && h.Relay.State == "running"
	})
	if logs.Find(t, map[string]any{"msg": "request", "status": float64(http.StatusCreated)})["trace_id"] == nil {
		t.Errorf("the line of a request does not tell its trace:\n%s", &logs)
	}
	end(t, program, &logs)
}

// databaseAway cuts the network to the database, so that no statement is ever
// answered.
func databaseAway(t *testing.T, orders string) {
	database := Servers.Database(t)
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	between := testenv.NewProxy(t, u.Host)
	var logs Journal
	addr, metricsAddr := freeAddr(t), freeAddr(t)
	program := runProgram(t, orders, &logs, "PULSE_OUTBOX_DB="+between.Through(t, database), "PULSE_AMQP_URL="+Nobody,
		"PULSE_ORDERS_ADDR="+addr, "PULSE_METRICS_ADDR="+metricsAddr)
	awaitReady(t, addr)
	between.Freeze()
	testenv.Eventually(t, Patience, "the service to miss its database", func() bool {
		status, _ := readiness(t, "http://"+addr)
		return status == http.StatusServiceUnavailable
	})
	status, text := Ask(t, http.MethodGet, fmt.Sprintf("http://%s/metrics", metricsAddr), "")
	for _, want := range []string{"go_build_info{", `service_name="orders"`, "process_resident_memory_bytes "} {
		if status != http.StatusOK || !strings.Contains(string(text), want) {
			t.Errorf("%d, no %s in\n%s", status, want, text)
		}
	}
	between.Thaw()
	end(t, program, &logs)
}
