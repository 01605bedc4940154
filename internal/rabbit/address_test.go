package rabbit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/certtest"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestAddresses(t *testing.T) {
	for raw, want := range map[string][]string{
		"amqp://host": {"amqp://host"},
		"amqp://u:p@one:5672,two:5673/v?heartbeat=5": {"amqp://u:p@one:5672/v?heartbeat=5", "amqp://u:p@two:5673/v?heartbeat=5"},
		"amqps://u:p,q@[::1]:5671,[::2]":             {"amqps://u:p,q@[::1]:5671", "amqps://u:p,q@[::2]"},
		"amqp://a:1@one/,amqps://b:2,3@two/v":        {"amqp://a:1@one/", "amqps://b:2,3@two/v"},
		"amqp://one?x=a,b":                           {"amqp://one?x=a,b"},
		"nonsense":                                   {"nonsense"},
	} {
		if got := addresses(raw); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
	for raw, problem := range map[string]string{
		"amqp://u:p@one:5672,two:x/":       "cannot be parsed",
		"amqp://u:p@one:5672,/":            "names no host",
		"amqp://u:p@one/,amqp://u:p@b:x/":  "cannot be parsed",
		"amqp://u:p@one,two:5672/v?h=@one": "behind the host",
	} {
		if err := (Config{URL: raw}).Validate(); err == nil || !strings.Contains(err.Error(), problem) || strings.Contains(err.Error(), "p@") {
			t.Errorf("%s: %v, want an error with %q and without the password", raw, err, problem)
		}
	}
	if err := (Config{URL: "amqp://u:p@one:5672,two:5673/v"}).Validate(); err != nil {
		t.Error(err)
	}
}

// Of several brokers one answers; whoever loses that one goes to the next.
func TestSeveralBrokers(t *testing.T) {
	server := testenv.RabbitMQ(t)
	one, two := rabbittest.NewProxy(t, server), rabbittest.NewProxy(t, server)
	all := one.URL() + "," + two.URL()
	one.Cut()
	for range 5 { // in whatever order
		conn, err := Dial(t.Context(), Config{URL: all, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		if conn.address != two.URL() {
			t.Errorf("connected to %s", conn.address)
		}
		conn.Close()
	}
	two.Cut()
	if _, err := Dial(t.Context(), Config{URL: all}); err == nil || strings.Count(err.Error(), "connect to amqp://") != 2 || strings.Contains(err.Error(), "\n") {
		t.Errorf("both away: %v; want both named on one line", err)
	}

	sessions := make(chan string)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		cfg := Config{URL: all, Logger: quiet(), MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond}
		Supervise(ctx, cfg, func(ctx context.Context, conn *Conn) error {
			select {
			case sessions <- conn.address:
			case <-ctx.Done():
				return nil
			}
			select {
			case err := <-conn.Lost():
				return err
			case <-ctx.Done():
				return nil
			}
		})
	}()
	for _, p := range []*rabbittest.Proxy{one, two, one} {
		p.Restore()
		if got := <-sessions; got != p.URL() {
			t.Errorf("connected to %s, want %s", got, p.URL())
		}
		p.Cut()
	}
	cancel()
	<-done
}

// Two connections in a row to brokers that both answer lead to both: clients
// spread, and one that is lost at once is not tried again first.
func TestEachDialBeginsWithTheNext(t *testing.T) {
	server := testenv.RabbitMQ(t)
	one, two := rabbittest.NewProxy(t, server), rabbittest.NewProxy(t, server)
	d := &dialer{cfg: Config{URL: one.URL() + "," + two.URL()}.withDefaults()}
	seen := make(map[string]int)
	for range 4 {
		conn, err := d.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen[conn.address]++
		conn.Close()
	}
	if seen[one.URL()] != 2 || seen[two.URL()] != 2 {
		t.Errorf("%v", seen)
	}
}

// Address and credentials are asked for at each attempt, so that what changes
// is taken up without a restart.
func TestEachDialAsksAnew(t *testing.T) {
	user := testenv.NewRabbitMQUser(t, testenv.RabbitMQ(t))
	current := func(context.Context) (string, error) { return user.URL(), nil }
	without := func(context.Context) (string, error) {
		u, err := url.Parse(user.URL())
		u.User = url.UserPassword("nobody", "old")
		return u.String(), err
	}
	credentials := func(context.Context) (string, string, error) {
		name, password := user.Credentials()
		return name, password, nil
	}
	for _, cfg := range []Config{{GetURL: current}, {GetURL: without, Credentials: credentials}} {
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		d := &dialer{cfg: cfg.withDefaults()}
		for _, password := range []string{"first", "second/%@", "third"} {
			user.SetPassword(password)
			conn, err := d.dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		}
	}
}

func TestDialSaysWhatCouldNotBeAsked(t *testing.T) {
	away := errors.New("the vault is sealed")
	for name, c := range map[string]struct {
		cfg  Config
		says string
	}{
		"address": {Config{GetURL: func(context.Context) (string, error) { return "", away }}, "ask for the broker's URL: the vault is sealed"},
		"credentials": {Config{URL: "amqp://localhost", Credentials: func(context.Context) (string, string, error) { return "", "", away }},
			"ask for credentials: the vault is sealed"},
		"TLS": {Config{URL: "amqps://localhost", GetTLS: func(context.Context) (*tls.Config, error) { return nil, away }},
			"ask for TLS settings: the vault is sealed"},
		"no URL": {Config{GetURL: func(context.Context) (string, error) { return "amqp://u:hunter2@h:x/", nil }}, "cannot be parsed"},
	} {
		_, err := Dial(t.Context(), c.cfg)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want an error with %q", name, err, c.says)
		}
	}
}

// The files of certificate and authority are replaced while the program runs.
func TestEachDialReadsCertificatesAnew(t *testing.T) {
	server := testenv.RabbitMQ(t)
	old, renewed := rabbittest.NewTLS(t, server), rabbittest.NewTLS(t, server)
	files := TLSFiles{CA: old.CAFile, Cert: old.CertFile, Key: old.KeyFile}
	var address atomic.Value
	address.Store(old.URL)
	cfg := Config{GetURL: func(context.Context) (string, error) { return address.Load().(string), nil }, GetTLS: files.Get()}
	reach := func() error {
		conn, err := Dial(t.Context(), cfg)
		if err == nil {
			conn.Close()
		}
		return err
	}
	if err := reach(); err != nil {
		t.Fatal(err)
	}
	address.Store(renewed.URL)
	if err := reach(); err == nil || !strings.Contains(err.Error(), "not trusted") {
		t.Errorf("a server of another authority: %v", err)
	}
	for from, to := range map[string]string{renewed.CAFile: files.CA, renewed.CertFile: files.Cert, renewed.KeyFile: files.Key} {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := reach(); err != nil {
		t.Errorf("after the files were replaced: %v", err)
	}
	// A certificate that is half written is a failure like any other.
	_, key := certtest.PEM(t, certtest.NewAuthority(t).Issue(t, x509.ExtKeyUsageClientAuth))
	if err := os.WriteFile(files.Key, key[:20], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := reach(); err == nil || !strings.Contains(err.Error(), "client certificate") {
		t.Errorf("half a key: %v", err)
	}
}
