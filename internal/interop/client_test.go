package interop

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

const patience = time.Minute

// modulesVariable names the directory node_modules with the clients' packages.
const modulesVariable = "PULSE_NODE_MODULES"

// eachBroker runs a test against RabbitMQ and the development broker, or against
// the one that the suites of clients have started.
func eachBroker(t *testing.T, test func(t *testing.T, url string)) {
	if os.Getenv(modulesVariable) == "" {
		if slices.Contains(strings.Split(os.Getenv("PULSE_TEST_REQUIRE"), ","), "npm") {
			t.Fatalf("%s is not set", modulesVariable)
		}
		t.Skipf("needs packages from npm in %s; make broker-suites SUITES=codecs installs them", modulesVariable)
	}
	if url := os.Getenv("AMQP_URL"); url != "" {
		test(t, url)
		return
	}
	t.Run("RabbitMQ", func(t *testing.T) { test(t, testenv.RabbitMQ(t)) })
	t.Run("devbroker", func(t *testing.T) { test(t, devbroker.NewTest(t).URL()) })
}

// client is a running program of clients.
type client struct {
	t     *testing.T
	lines chan line
}

// line is what a client prints; Ready, once it has sent everything.
type line struct {
	Ready    bool
	Received json.RawMessage
}

// start starts a client that receives from one queue and sends to another.
func start(t *testing.T, program, url, receive, send string) *client {
	t.Helper()
	testenv.Tool(t, "node")
	modules, err := filepath.Abs(os.Getenv(modulesVariable))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join("clients", program))
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules, "AMQP_URL="+url, "RECEIVE_QUEUE="+receive, "SEND_QUEUE="+send)
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, lines: make(chan line, 100)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(c.lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			var l line
			if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
				t.Errorf("%s: %q: %v", program, scanner.Text(), err)
				continue
			}
			c.lines <- l
		}
	}()
	t.Cleanup(func() {
		_ = stdin.Close() // which asks it to end
		<-read
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("%s: %v", program, err)
		}
	})
	return c
}

// next returns the next line.
func (c *client) next() line {
	c.t.Helper()
	select {
	case l, open := <-c.lines:
		if !open {
			c.t.Fatal("the client has ended")
		}
		return l
	case <-time.After(patience):
		c.t.Fatalf("nothing from the client within %v", patience)
	}
	panic("unreachable")
}

// bind declares a queue and binds it to an exchange by its topic.
func bind(t *testing.T, url, exchange, topic, queue string) {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.ExchangeDeclare(exchange, "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(queue, topic, exchange, false, nil); err != nil {
		t.Fatal(err)
	}
}
