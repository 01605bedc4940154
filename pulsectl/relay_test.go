package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

const relayPatience = time.Minute

// relayProcess is a running pulsectl relay run.
type relayProcess struct {
	t       *testing.T
	cmd     *exec.Cmd
	ended   chan struct{} // all it had to say was read
	mu      sync.Mutex
	log     []map[string]any
	health  string // URL
	metrics string // URL
}

// startRelay starts a relay with flags and waits until it says where it serves
// health.
func startRelay(t *testing.T, outboxDB, broker string, flags ...string) *relayProcess {
	t.Helper()
	p := &relayProcess{t: t, ended: make(chan struct{})}
	p.cmd = exec.Command("pulsectl", append([]string{"relay", "run", "--health-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0", "--log-format", "json", "--lease-ttl", "2s"}, flags...)...)
	secret := filepath.Join(t.TempDir(), "amqp-url")
	if err := os.WriteFile(secret, []byte(broker+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd.Env = append(os.Environ(), "PULSE_OUTBOX_DB="+outboxDB, "PULSE_AMQP_URL=", "PULSE_AMQP_URL_FILE="+secret, "PULSE_STATE_DIR="+t.TempDir())
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // most tests have ended it
		<-p.ended
	})
	go func() {
		defer close(p.ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			record := map[string]any{}
			if json.Unmarshal(lines.Bytes(), &record) != nil {
				record["msg"] = lines.Text()
			}
			p.mu.Lock()
			p.log = append(p.log, record)
			p.mu.Unlock()
		}
	}()
	address := func(msg string) (url string) {
		t.Helper()
		testenv.Eventually(t, relayPatience, msg, func() bool {
			for _, record := range p.said(msg) {
				url, _ = record["url"].(string)
			}
			return url != ""
		})
		return url
	}
	p.health, p.metrics = address("serving health"), address("serving metrics")
	return p
}

// said returns the records of the log with a message.
func (p *relayProcess) said(msg string) (records []map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, record := range p.log {
		if record["msg"] == msg {
			records = append(records, record)
		}
	}
	return records
}

// get requests a URL.
func (p *relayProcess) get(url string) (status int, body string) {
	p.t.Helper()
	res, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

// end sends a signal and returns the exit code.
func (p *relayProcess) end(signal os.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(relayPatience):
		p.t.Fatalf("the relay goes on %v after %v", relayPatience, signal)
	}
	err := p.cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return 0
}

func openDB(t *testing.T, url string) *sqlx.DB {
	t.Helper()
	db, _, err := database.Open(url, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Relays share an outbox. One that is stopped ends in order and its buckets go to
// the other, one that is killed leaves them until its leases end, and nothing is
// lost meanwhile.
func TestRelayRun(t *testing.T) {
	outboxDB, broker := testenv.Postgres(t), testenv.RabbitMQ(t)
	migrate := exec.Command("pulsectl", "migrate", "up", "--only", "outbox", "--outbox-db", outboxDB)
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	db := openDB(t, outboxDB)
	count := func(query string) (n int) {
		t.Helper()
		if err := db.Get(&n, query); err != nil {
			t.Fatal(err)
		}
		return n
	}
	conn, err := amqp.Dial(broker)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	channel, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	exchange, queue := testenv.UniqueName(t, "shop"), testenv.UniqueName(t, "order.created")
	if err := channel.ExchangeDeclare(exchange, "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := channel.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := channel.QueueBind(queue, "order.created", exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	const keys = 20
	written := 0
	write := func(n int) {
		t.Helper()
		tx := db.MustBegin()
		defer tx.Rollback()
		for range n {
			written++
			tx.MustExec(`INSERT INTO outbox_messages (topic, type, key, payload) VALUES ('order.created', 'OrderCreated', $1, convert_to($2, 'UTF8'))`,
				fmt.Sprint("order-", written%keys), fmt.Sprintf(`{"n":%d}`, written))
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	published := func() bool { return count(`SELECT count(*) FROM outbox_messages WHERE status <> 'published'`) == 0 }
	owners := func(n int) func() bool {
		return func() bool {
			return count(`SELECT count(DISTINCT owner) FROM outbox_leases WHERE owner <> '' AND expires_at > clock_timestamp()`) == n &&
				count(`SELECT count(*) FROM outbox_leases WHERE owner = ''`) == 0
		}
	}

	flags := []string{"--producer", "shop", "--exchange", exchange}
	first, second := startRelay(t, outboxDB, broker, flags...), startRelay(t, outboxDB, broker, flags...)
	write(200)
	testenv.Eventually(t, relayPatience, "both relays to have buckets", owners(2))
	for _, p := range []*relayProcess{first, second} {
		testenv.Eventually(t, relayPatience, "health", func() bool {
			status, body := p.get(p.health + "ready")
			return status == 200 && strings.Contains(body, `"service":"shop"`) && strings.Contains(body, `"state":"running"`)
		})
		if status, body := p.get(p.health + "live"); status != 200 {
			t.Errorf("live: %d %s", status, body)
		}
	}
	testenv.Eventually(t, relayPatience, "all to be published", published)
	sent := regexp.MustCompile(`(?m)^messaging_client_sent_messages_total\{.* (\d+)$`)
	testenv.Eventually(t, relayPatience, "metrics to tell of all of them", func() bool {
		total := 0
		for _, p := range []*relayProcess{first, second} {
			_, body := p.get(p.metrics)
			if !strings.Contains(body, `service_name="shop"`) || !strings.Contains(body, "pulse_outbox_leases") {
				t.Fatalf("metrics:\n%s", body)
			}
			for _, m := range sent.FindAllStringSubmatch(body, -1) {
				n, err := strconv.Atoi(m[1])
				if err != nil {
					t.Fatal(err)
				}
				total += n
			}
		}
		return total >= written
	})

	if code := first.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM: %v", code, first.log)
	}
	if len(first.said("relay has stopped")) != 1 {
		t.Errorf("it does not say that it has stopped: %v", first.log)
	}
	write(200)
	testenv.Eventually(t, relayPatience, "all to be published by the other", published)

	third := startRelay(t, outboxDB, broker, flags...)
	testenv.Eventually(t, relayPatience, "the new one to have its share", owners(2))
	write(200)
	second.end(syscall.SIGKILL)
	write(200)
	testenv.Eventually(t, relayPatience, "all to be published by the one that is left", published)
	if code := third.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM: %v", code, third.log)
	}

	// Of each key the first copies came in order.
	last, seen := make(map[string]int), make(map[int]bool)
	for {
		d, more, err := channel.Get(queue, true)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
		var body struct{ N int }
		if err := json.Unmarshal(d.Body, &body); err != nil || d.AppId != "shop" {
			t.Fatalf("%s from %q: %v", d.Body, d.AppId, err)
		}
		key, _ := d.Headers["pulse-key"].(string)
		if !seen[body.N] && body.N < last[key] {
			t.Errorf("%s: %d after %d", key, body.N, last[key])
		}
		seen[body.N], last[key] = true, max(last[key], body.N)
	}
	if len(seen) != written {
		t.Errorf("%d messages arrived, want %d", len(seen), written)
	}
}
