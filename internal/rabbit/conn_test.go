package rabbit

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/certtest"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestDialTLS(t *testing.T) {
	front := rabbittest.NewTLS(t, testenv.RabbitMQ(t))
	for _, c := range []struct {
		name                      string
		ca, cert, key, serverName string
		problem                   string
	}{
		{"all is well", front.CAFile, front.CertFile, front.KeyFile, "", ""},
		{"another server name", front.CAFile, front.CertFile, front.KeyFile, certtest.ServerName, ""},
		{"unknown authority", "", front.CertFile, front.KeyFile, "", "not trusted"},
		{"no client certificate", front.CAFile, "", "", "", "certificate"},
		{"wrong server name", front.CAFile, front.CertFile, front.KeyFile, "elsewhere.test", "elsewhere.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings, err := TLSFiles{c.ca, c.cert, c.key, c.serverName}.Load()
			if err != nil {
				t.Fatal(err)
			}
			conn, err := Dial(t.Context(), Config{URL: front.URL, TLS: settings})
			if err == nil {
				conn.Close()
			}
			if (err == nil) != (c.problem == "") || err != nil && !strings.Contains(err.Error(), c.problem) {
				t.Errorf("error %v, want one with %q", err, c.problem)
			}
		})
	}
}

func TestTLSFilesReportEverything(t *testing.T) {
	_, err := TLSFiles{CA: "no-ca.pem", Cert: "no-cert.pem"}.Load()
	for _, part := range []string{"no-ca.pem", "no-cert.pem: its key file is missing"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v lacks %q", err, part)
		}
	}
	if settings, err := (TLSFiles{}).Load(); settings != nil || err != nil || (TLSFiles{}).Get() != nil {
		t.Errorf("no files: %v, %v", settings, err)
	}
}

// A peer that takes the connection and says nothing is not the same as one
// that refuses the login.
func TestDialSilentPeer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	target := "amqp://user:hunter2@" + listener.Addr().String()
	_, err = Dial(t.Context(), Config{URL: target, DialTimeout: 100 * time.Millisecond})
	if err == nil || errors.Is(err, ErrAccess) || !strings.Contains(err.Error(), "no answer within 100ms") {
		t.Errorf("silent peer: %v", err)
	}
	cause := errors.New("changed our mind")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err = Dial(ctx, Config{URL: target}); !errors.Is(err, cause) {
		t.Errorf("ctx has ended: %v", err)
	}
}

func TestDialWrongVirtualHost(t *testing.T) {
	u, err := url.Parse(testenv.RabbitMQ(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + testenv.UniqueName(t, "nowhere")
	if _, err := Dial(t.Context(), Config{URL: u.String()}); !errors.Is(err, ErrAccess) {
		t.Errorf("got %v, want ErrAccess", err)
	}
}

func TestEnsureExplainsItself(t *testing.T) {
	conn, ctx := dial(t, testenv.RabbitMQ(t)), t.Context()
	queue, exchange := testenv.UniqueName(t, "q"), testenv.UniqueName(t, "x")
	if err := conn.EnsureQueue(ctx, Declare, Queue{Name: queue, Args: amqp.Table{"x-max-length": 5}}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // declaring is idempotent
		if err := conn.EnsureExchange(ctx, Declare, Exchange{Name: exchange, Kind: amqp.ExchangeTopic}); err != nil {
			t.Fatal(err)
		}
		if err := conn.EnsureBinding(ctx, Declare, Binding{Exchange: exchange, Key: "a.*", Queue: queue}); err != nil {
			t.Fatal(err)
		}
	}
	wantTopology := func(what string, err error, parts ...string) {
		t.Helper()
		if !errors.Is(err, ErrTopology) {
			t.Errorf("%s: got %v, want ErrTopology", what, err)
			return
		}
		for _, part := range parts {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v lacks %q", what, err, part)
			}
		}
	}
	wantTopology("other argument", conn.EnsureQueue(ctx, Declare, Queue{Name: queue, Args: amqp.Table{"x-max-length": 6}}),
		queue, "x-max-length", "delete it", "another name", "verify")
	wantTopology("missing queue", conn.EnsureQueue(ctx, Verify, Queue{Name: queue + ".no"}), queue+".no", "declare")
	wantTopology("missing exchange", conn.EnsureExchange(ctx, Verify, Exchange{Name: exchange + ".no", Kind: amqp.ExchangeTopic}), "declare")
	wantTopology("binding to nothing", conn.EnsureBinding(ctx, Declare, Binding{Exchange: exchange + ".no", Key: "a", Queue: queue}), exchange+".no")
	wantTopology("reserved name", conn.EnsureExchange(ctx, Declare, Exchange{Name: "amq.mine", Kind: amqp.ExchangeTopic}), "permission")
	if err := conn.EnsureQueue(ctx, None, Queue{Name: queue + ".no"}); err != nil {
		t.Errorf("none: %v", err)
	}
	if err := conn.EnsureQueue(ctx, Verify, Queue{Name: queue}); err != nil {
		t.Errorf("the connection did not survive all this: %v", err)
	}
}

func TestDoGivesUpOnSilence(t *testing.T) {
	proxy := rabbittest.NewProxy(t, testenv.RabbitMQ(t))
	conn, err := Dial(t.Context(), Config{URL: proxy.URL(), CallTimeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lost := conn.Lost()
	proxy.Silence()
	open := func() error { _, err := conn.Channel(); return err }

	cause := errors.New("caller left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := conn.Do(ctx, open); !errors.Is(err, cause) {
		t.Errorf("ctx has ended: %v", err)
	}
	if err := conn.Do(t.Context(), open); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("silent broker: %v", err)
	}
	if err := <-lost; !errors.Is(err, ErrLost) {
		t.Errorf("lost because of %v", err)
	}
}
