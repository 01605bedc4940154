// Package rabbit is what the publisher and the consumer on RabbitMQ have in
// common: a connection that is supervised and never given up, topology with
// errors that say the way out, the mapping between the wire contract and the
// AMQP library, and publishing with pipelined confirms.
//
// The library's own recovery is off; docs/adr/0003-connection-supervision.md
// says why.
package rabbit

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.opentelemetry.io/otel/metric"
)

// Config says how to reach a broker. It is the same for publisher and
// consumer, each of which keeps a connection of its own: TCP back-pressure on
// publishing must not hold up acknowledgements.
type Config struct {
	// URL such as amqp://user:password@host:5672/vhost, or amqps:// for TLS.
	// Reserved characters in user and password are percent-encoded. Several
	// brokers are separated by commas: one:5672,two:5672, or whole URLs. The query
	// may hold auth_mechanism=external for login by client certificate.
	// Required without GetURL.
	URL string
	// GetURL, if set, is asked for the URL at each attempt to connect, in place
	// of URL.
	GetURL func(context.Context) (string, error)
	// Credentials, if set, is asked for user and password at each attempt to
	// connect, in place of those in the URL.
	Credentials func(context.Context) (user, password string, err error)
	// TLS is used with amqps. Defaults to the system's certificate authorities
	// and the host's name.
	TLS *tls.Config
	// GetTLS, if set, is asked for TLS at each attempt to connect, in place of
	// TLS; see TLSFiles.
	GetTLS func(context.Context) (*tls.Config, error)
	// Name of the connection as the broker's tools show it. Defaults to
	// "pulse-events".
	Name string
	// Heartbeat is how often both sides prove to be alive. A peer that is
	// silent for one and a half heartbeats is given up. Defaults to 10 s, at
	// least 1 s. A heartbeat in the URL takes precedence.
	Heartbeat time.Duration
	// DialTimeout bounds one attempt to connect, TLS and login included.
	// Defaults to 10 s.
	DialTimeout time.Duration
	// CallTimeout bounds a write that the network does not take and an answer
	// that the broker does not give; after it the connection is given up.
	// Defaults to 30 s.
	CallTimeout time.Duration
	// MinBackoff and MaxBackoff bound the wait between two attempts, which
	// doubles with every failure and is jittered down to a half. Default to
	// 100 ms and 5 s.
	MinBackoff, MaxBackoff time.Duration
	// Logger hears of connections made and lost. Defaults to slog.Default().
	Logger *slog.Logger
	// Meter measures a supervised connection. nil: nothing is measured.
	Meter metric.Meter
	// OnFailure is called with every failure to connect and every end of a
	// session, before the wait; no text holds the password. May be nil.
	OnFailure func(error)
}

// Validate returns every problem at once, or nil. No text holds the password.
func (c Config) Validate() error {
	var problems []error
	if c.GetURL == nil || c.URL != "" {
		problems = urlProblems(c.URL)
	}
	if (c.TLS != nil || c.GetTLS != nil) && strings.HasPrefix(c.URL, "amqp://") {
		problems = append(problems, errors.New("TLS: is set, but URL begins with amqp://; use amqps://"))
	}
	if len(c.Name) > maxShortString {
		problems = append(problems, fmt.Errorf("Name: %d bytes, at most %d are allowed", len(c.Name), maxShortString))
	}
	if c.Heartbeat != 0 && c.Heartbeat < time.Second {
		problems = append(problems, fmt.Errorf("Heartbeat: %v; at least 1s, or 0 for the default", c.Heartbeat))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"DialTimeout", c.DialTimeout}, {"CallTimeout", c.CallTimeout}, {"MinBackoff", c.MinBackoff}, {"MaxBackoff", c.MaxBackoff}} {
		if d.value < 0 {
			problems = append(problems, fmt.Errorf("%s: %v; must not be negative", d.name, d.value))
		}
	}
	if filled := c.withDefaults(); filled.MinBackoff > filled.MaxBackoff {
		problems = append(problems, fmt.Errorf("MinBackoff: %v is more than MaxBackoff, %v", filled.MinBackoff, filled.MaxBackoff))
	}
	return errors.Join(problems...)
}

func (c Config) withDefaults() Config {
	c.Name = cmp.Or(c.Name, "pulse-events")
	c.Heartbeat = cmp.Or(c.Heartbeat, 10*time.Second)
	c.DialTimeout = cmp.Or(c.DialTimeout, 10*time.Second)
	c.CallTimeout = cmp.Or(c.CallTimeout, 30*time.Second)
	c.MinBackoff = cmp.Or(c.MinBackoff, 100*time.Millisecond)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, 5*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

const urlHint = "expected amqp://user:password@host:5672/vhost, with reserved characters in user and password percent-encoded"

// urlProblems never quotes what it could not parse: a password with a
// reserved character ends up in any part of such a URL.
func urlProblems(raw string) []error {
	if raw == "" {
		return []error{fmt.Errorf("URL: is empty; %s", urlHint)}
	}
	for _, address := range addresses(raw) {
		if err := addressProblem(address); err != nil {
			return []error{err}
		}
	}
	return nil
}

func addressProblem(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || strings.Contains(raw, " "):
		return fmt.Errorf("URL: cannot be parsed; %s", urlHint)
	case u.Scheme != "amqp" && u.Scheme != "amqps":
		return fmt.Errorf("URL: does not begin with amqp:// or amqps://; %s", urlHint)
	case u.Host == "":
		return fmt.Errorf("URL: names no host; %s", urlHint)
	case strings.Contains(u.Path+u.RawQuery+u.Fragment, "@"):
		return fmt.Errorf("URL: has an @ behind the host, as from an unencoded password; %s", urlHint)
	}
	if _, err := amqp.ParseURI(raw); err != nil {
		return redact(fmt.Errorf("URL: %w", err), raw)
	}
	return nil
}
