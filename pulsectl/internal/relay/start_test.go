package relay

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// spoken is a log that can be read.
type spoken struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *spoken) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

// A role that is refused at the start is waited for, as one that is refused later: a
// password is being rotated.
func TestStartWaitsForAccess(t *testing.T) {
	outboxDB := testenv.Postgres(t)
	migrate(t, open(t, outboxDB))
	broker := devbroker.NewTest(t).URL()
	config := func(url string, log io.Writer, limit time.Duration) Config {
		return Config{
			DatabaseURL: url, StartTimeout: limit, Logger: slog.New(slog.NewTextHandler(log, nil)),
			Publisher: outboxrabbit.PublisherConfig{URL: broker, Exchange: "shop", Producer: "shop"},
		}
	}
	for _, c := range []struct {
		says          string
		refuse, admit func(u *testenv.PostgresUser)
	}{
		{"28P01", func(u *testenv.PostgresUser) { u.Exec(`ALTER ROLE ` + u.Name() + ` PASSWORD 'another'`) }, func(u *testenv.PostgresUser) {
			parsed, _ := url.Parse(u.URL())
			password, _ := parsed.User.Password()
			u.SetPassword(password)
		}},
		{"28000", func(u *testenv.PostgresUser) { u.Exec(`ALTER ROLE ` + u.Name() + ` NOLOGIN`) },
			func(u *testenv.PostgresUser) { u.Exec(`ALTER ROLE ` + u.Name() + ` LOGIN`) }},
	} {
		t.Run(c.says, func(t *testing.T) {
			user := role(t, outboxDB, relayGrants, "shop_relay")
			c.refuse(user)

			var log spoken
			p, err := New(config(user.URL(), io.Discard, time.Nanosecond))
			if err != nil {
				t.Fatal(err)
			}
			limited, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err = p.Run(limited)
			if err == nil {
				t.Fatal("it runs")
			}
			if f := fail.From(err); f.Kind != fail.Unreachable || !strings.Contains(f.Cause.Error(), "access refused for 1ns") || !strings.Contains(f.Cause.Error(), c.says) {
				t.Errorf("with no time to wait: %v: %v", f, f.Cause)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}

			p = run(t, config(user.URL(), &log, patience))
			testenv.Eventually(t, patience, "the log to say so", func() bool { return log.has("access refused") && log.has(c.says) })
			c.admit(user)
			testenv.Eventually(t, patience, "the relay to run", func() bool { return p.relay.Health().State == outbox.RelayRunning })
		})
	}
}
