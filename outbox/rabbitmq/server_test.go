package rabbitmq_test

import (
	"bytes"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// The publisher continues after its broker was stopped or killed, and starts
// without it.
func TestPublisherBrokerRestarts(t *testing.T) {
	server := testenv.RabbitMQServer(t)
	b := broker{url: server.URL(), publisherURL: server.URL(), exchange: "pulse.events"}
	b.queue(t, topic, nil)
	server.Stop()
	p := b.publisher(t)
	msgs := newMessages(topic, 20)
	wantEach(t, p.Publish(t.Context(), msgs), outbox.ErrUnavailable)
	awaitHealth(t, p, "connect")
	server.Start()
	wantPublished(t, publishSoon(t, p, msgs))
	b.take(t, topic, len(msgs))

	server.Kill()
	wantEach(t, p.Publish(t.Context(), msgs), outbox.ErrUnavailable)
	server.Start()
	wantPublished(t, publishSoon(t, p, msgs))
	b.take(t, topic, len(msgs))
}

func TestPublisherWrongCredentials(t *testing.T) {
	const password = "0nly-for/friends?"
	b := newBroker(t)
	u, err := url.Parse(b.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("nobody", password)
	b.publisherURL = u.String()
	var log logBuffer
	cfg := b.config(t)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	p := newPublisher(t, cfg)
	awaitHealth(t, p, "access refused", "check user, password and virtual host")

	text := wantEach(t, p.Publish(t.Context(), newMessages(topic, 1)), outbox.ErrUnavailable)
	_, lastErr := p.Health()
	for _, shown := range []string{text, lastErr.Error(), log.String()} {
		if strings.Contains(shown, password) || strings.Contains(shown, url.QueryEscape(password)) {
			t.Errorf("password is shown in %q", shown)
		}
		if !strings.Contains(shown, "nobody") {
			t.Errorf("user is not named in %q", shown)
		}
	}
	if !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("log is not loud: %s", log.String())
	}
}

// logBuffer is a bytes.Buffer for several goroutines.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
