package rabbitmq

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.opentelemetry.io/otel/metric"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// Topology says what the publisher does about its exchange on each connection.
type Topology int

// The ways to treat the exchange.
const (
	// Declare creates the exchange where it is missing. Where it exists with
	// other settings, nothing is published and Health says so.
	Declare = Topology(rabbit.Declare)
	// Verify asks that the exchange exists, whatever its settings. From RabbitMQ
	// 4.2.6 on one that the user has no permission for cannot be seen, and is taken
	// to be there.
	Verify = Topology(rabbit.Verify)
	// None leaves it alone. While it is missing, messages are unavailable.
	None = Topology(rabbit.None)
)

// String is the mode in a word, as "declare".
func (t Topology) String() string { return rabbit.TopologyMode(t).String() }

// PublisherConfig holds the settings of a Publisher. Only URL, or GetURL, is
// required.
type PublisherConfig struct {
	// URL such as amqp://user:password@host:5672/vhost, or amqps:// for TLS;
	// reserved characters in user and password are percent-encoded. Several
	// brokers of a cluster are separated by commas, as in
	// amqp://user:password@one:5672,two:5672/vhost: they are tried in random
	// order, beginning with the next one after each loss. With
	// ?auth_mechanism=external the client's certificate is the login.
	URL string
	// GetURL, if set, is asked for the URL at each attempt to connect, in place
	// of URL. An error is a failure to connect, and tried again.
	GetURL func(context.Context) (string, error)
	// Credentials, if set, is asked for user and password at each attempt to
	// connect, in place of those in the URL: for passwords that are rotated. An
	// error is a failure to connect, and tried again; it is logged, so it must
	// hold no secret. It is called from several goroutines.
	Credentials func(context.Context) (user, password string, err error)
	// TLS is used with amqps: own certificate authorities in RootCAs, a
	// client's certificate in Certificates. Defaults to the system's
	// authorities and the host's name.
	TLS *tls.Config
	// GetTLS, if set, is asked for TLS at each attempt to connect, in place of
	// TLS: for certificates and authorities that are rotated. nil, nil stands
	// for the defaults. It is called from several goroutines.
	GetTLS func(context.Context) (*tls.Config, error)
	// Exchange to publish to, a durable one. Defaults to "pulse.events". The
	// broker's nameless default exchange cannot be used: it would take topics for
	// names of queues.
	Exchange string
	// ExchangeType is "topic", "direct", "fanout", "headers", or the type of a
	// plugin, such as "x-consistent-hash". Defaults to "topic". An exchange with
	// arguments is used with the Topology Verify or None.
	ExchangeType string
	// RoutingKey returns the routing key of a message. Defaults to its topic.
	// Order holds whatever it returns. It is called by several goroutines.
	RoutingKey func(m outbox.Message) string
	// RoutingHeaders returns headers that a message gets besides its own, for a
	// headers exchange to route by; it may return nil. Values are strings, bools
	// and numbers. A header of the message with the same name is replaced; a name
	// that is reserved, as for Message.Headers, makes the message dead. (A headers
	// exchange also sees the message's own headers, and pulse-topic.) It is called
	// by several goroutines.
	RoutingHeaders func(m outbox.Message) map[string]any
	// TopicHeader sends the header pulse-topic with every message. Without it
	// messages have it where the routing key is not their topic, and on exchanges
	// that may route by headers. Set it where the routing key does not survive the
	// way to the consumer (a shovel that moves messages from queue to queue), or
	// where another exchange behind this one compares headers.
	TopicHeader bool
	// AllowUnroutable reports whether messages of a topic may have no queue that
	// takes them: such a message counts as published when the broker confirms it,
	// and is then gone. It is called by several goroutines. Defaults to none:
	// they are outbox.ErrUnroutable, and tried again.
	AllowUnroutable func(topic string) bool
	// Audiences are, by topic, the queues that must get its messages. Such a message
	// counts as published only if all of them are bound for its routing key: that is
	// looked up before it is sent, at most a second earlier, and again when the broker
	// has confirmed it. While one is not bound, the topic's messages are
	// outbox.ErrUnavailable, with ErrAudience: the relay suspends the topic and counts
	// no attempt. Defaults to none: one queue is enough. Needs ManagementURL.
	Audiences map[string][]string
	// ManagementURL of RabbitMQ's management API, such as
	// http://user:password@host:15672, to look up bindings, which AMQP does not
	// tell. Its user needs the tag management, and permissions in the virtual host,
	// which may be for nothing (^$). While it does not answer, topics that Audiences
	// names are not published. https:// uses TLS or GetTLS.
	ManagementURL string
	// GetManagementURL, if set, is asked for ManagementURL at each look, in place of
	// it. It is called from several goroutines.
	GetManagementURL func(context.Context) (string, error)
	// Producer is the application's name, sent as app_id and shown by the
	// broker as the connection's name. Defaults to none.
	Producer string
	// Codec changes messages to the format of another ecosystem before they are
	// published, such as nestjs.Codec or cloudevents.Codec. A message that it
	// cannot encode is dead at once (outbox.ErrPermanent). Defaults to none: the
	// payload is the body, as package wire says.
	Codec wire.Encoder
	// Window is the most messages on their way on one channel. Defaults to 1000.
	Window int
	// Channels is how many calls of Publish run at once; further ones wait.
	// Defaults to 8.
	Channels int
	// StallTimeout is how long the broker may take for the next confirm on
	// messages of one topic before these are unavailable. Those of other topics go
	// on. RabbitMQ refuses a message half a minute after it was published to a quorum
	// queue without a majority; with 30 s or more here that counts as a full one's refusal.
	// Defaults to 2 s, or ConfirmTimeout if that is less.
	StallTimeout time.Duration
	// ConfirmTimeout is how long the broker may take for its next confirm on any
	// message, or block publishing, before all are unavailable. A confirm that
	// comes later than StallTimeout, but in this time, still counts: the
	// message is not sent again when it is tried again. A refusal that comes so
	// late does not count: a full queue refuses at once. Defaults to 30 s.
	ConfirmTimeout time.Duration
	// Heartbeat is how often both sides of the connection prove to be alive.
	// Defaults to 10 s.
	Heartbeat time.Duration
	// Topology says what is done about the exchange. Defaults to Declare.
	Topology Topology
	// MeterProvider makes the meter of the connection's metrics; those of
	// publishing are the relay's. Defaults to OpenTelemetry's global one.
	MeterProvider metric.MeterProvider
	// Logger hears of connections made and lost. Defaults to slog.Default().
	Logger *slog.Logger
}

func (c PublisherConfig) withDefaults() PublisherConfig {
	c.Exchange = cmp.Or(c.Exchange, wire.Exchange)
	c.ExchangeType = cmp.Or(c.ExchangeType, amqp.ExchangeTopic)
	c.Window = cmp.Or(c.Window, 1000)
	c.Channels = cmp.Or(c.Channels, 8)
	c.ConfirmTimeout = cmp.Or(c.ConfirmTimeout, 30*time.Second)
	c.StallTimeout = cmp.Or(c.StallTimeout, min(2*time.Second, c.ConfirmTimeout))
	return c
}

// routesByHeaders reports whether the exchange may look at headers: one of type
// headers, or of a plugin.
func (c PublisherConfig) routesByHeaders() bool {
	switch c.ExchangeType {
	case amqp.ExchangeTopic, amqp.ExchangeDirect, amqp.ExchangeFanout:
		return false
	}
	return true
}

// validate returns every problem at once. No text holds the password.
func (c PublisherConfig) validate() error {
	problems := []error{c.connection().Validate()}
	for _, name := range []struct{ field, value string }{{"Exchange", c.Exchange}, {"Producer", c.Producer}} {
		if len(name.value) > 255 {
			problems = append(problems, fmt.Errorf("%s: %d bytes, at most 255 are possible", name.field, len(name.value)))
		}
	}
	if problem := rabbit.ExchangeTypeProblem(c.withDefaults().ExchangeType); problem != "" {
		problems = append(problems, fmt.Errorf("ExchangeType: %s", problem))
	}
	if codec, ok := c.Codec.(interface{ Validate() error }); ok {
		if err := codec.Validate(); err != nil {
			problems = append(problems, fmt.Errorf("Codec: %w", err))
		}
	}
	problems = append(problems, c.validateAudiences()...)
	for _, n := range []struct {
		field string
		value int
	}{{"Window", c.Window}, {"Channels", c.Channels}} {
		if n.value < 0 {
			problems = append(problems, fmt.Errorf("%s: %d; must be positive, or 0 for the default", n.field, n.value))
		}
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"StallTimeout", c.StallTimeout}, {"ConfirmTimeout", c.ConfirmTimeout}} {
		if d.value < 0 {
			problems = append(problems, fmt.Errorf("%s: %v; must be positive, or 0 for the default", d.field, d.value))
		}
	}
	if filled := c.withDefaults(); filled.StallTimeout > filled.ConfirmTimeout && filled.ConfirmTimeout > 0 {
		problems = append(problems, fmt.Errorf("StallTimeout: %v; must not be more than ConfirmTimeout, %v", filled.StallTimeout, filled.ConfirmTimeout))
	}
	if err := rabbit.TopologyMode(c.Topology).Validate(); err != nil {
		problems = append(problems, fmt.Errorf("Topology: %w", err))
	}
	return errors.Join(problems...)
}

// confirmer is how a channel waits for confirms.
func (c PublisherConfig) confirmer() rabbit.ConfirmerConfig {
	return rabbit.ConfirmerConfig{Window: c.Window, Stall: c.StallTimeout, BlockLimit: c.ConfirmTimeout, KeepLate: true}
}

func (c PublisherConfig) connection() rabbit.Config {
	name := "pulse-events publisher"
	if c.Producer != "" {
		name = c.Producer + " publisher"
	}
	return rabbit.Config{
		URL: c.URL, GetURL: c.GetURL, Credentials: c.Credentials, TLS: c.TLS, GetTLS: c.GetTLS,
		Name: name[:min(len(name), 255)], Heartbeat: c.Heartbeat,
		CallTimeout: max(c.ConfirmTimeout, 0), Logger: c.Logger,
	}
}
