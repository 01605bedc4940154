package service

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/examples/auth"
	"github.com/asimalizada/pulse-events/examples/internal/api"
	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// Settings are what both services need to know.
type Settings struct {
	// DatabaseURL of the service's own database: PostgreSQL, such as
	// postgres://user:password@host:5432/orders, or a SQLite file, such as
	// sqlite:/var/lib/orders.db, whose folder has to exist. Required.
	DatabaseURL string
	// GetDatabaseURL, if set, is asked for the URL of PostgreSQL at each connect,
	// as its password may have been rotated. DatabaseURL is then what it was at
	// the start.
	GetDatabaseURL func(context.Context) (string, error)
	// AMQPURL of the broker, such as amqp://user:password@host:5672/, or of
	// several, separated by commas. They may be away; the URL is required.
	AMQPURL string
	// GetAMQPURL, if set, is asked for AMQPURL at each connect.
	GetAMQPURL func(context.Context) (string, error)
	// AMQPTLS is used with amqps://. Defaults to the system's certificate
	// authorities and the host's name.
	AMQPTLS *tls.Config
	// GetAMQPTLS, if set, is asked for AMQPTLS at each connect.
	GetAMQPTLS func(context.Context) (*tls.Config, error)
	// Exchange that events go through. Defaults to pulse.events.
	Exchange string
	// Topology says what is done about exchange and queues: the zero value declares
	// them, and rabbitmq.Verify leaves that to an administrator, so that the users
	// of the broker need no right to configure.
	Topology rabbitmq.Topology
	// Audiences are the queues that must get what the orders service publishes, by
	// topic: a message counts as published only while all of them are bound. They are
	// looked up by ManagementURL, RabbitMQ's management API, such as
	// http://user:password@host:15672. GetManagementURL, if set, is asked for it again.
	Audiences        map[string][]string
	ManagementURL    string
	GetManagementURL func(context.Context) (string, error)
	// Addr to serve HTTP on, as host:port. Each service of each stack has a
	// default of its own on 127.0.0.1: stdlib 6101 for orders and 6102 for
	// notifications, gin 6201 and 6202.
	Addr string
	// HTTPS, if set, is what the service is reached by, in place of HTTP.
	HTTPS HTTPS
	// AutoMigrate brings the schema to its newest version at start. Without it
	// a schema that is missing or behind is an error.
	AutoMigrate bool
	// AllowedHosts are further names that requests may be for, in the header
	// Host. IP addresses, localhost and names without a dot always are; see
	// api.ServedOn. "*" takes any.
	AllowedHosts []string
	// Auth tells who calls. Nil: nobody is asked, and everybody may do everything;
	// the log says so at the start.
	Auth *auth.Verifier
	// Limits of requests; the zero value sets none.
	Limits api.Limits
	// DatabaseTimeout bounds what one request does in the database, waiting for
	// a connection included. Defaults to 1.5 s, and to 10 s on SQLite, where an
	// order waits for other writers.
	DatabaseTimeout time.Duration
	// StartTimeout is how long to wait at start for a database that does not
	// answer. Defaults to 30 s.
	StartTimeout time.Duration
	// DrainPeriod is how long the service goes on once the context of Run has
	// ended, being not ready, so that load balancers send their requests
	// elsewhere: longer than one takes to notice. Without it the listener closes
	// at once, as it does where the cause is ErrInterrupted.
	DrainPeriod time.Duration
	// ShutdownTimeout is how long requests in flight may take after that.
	// Defaults to 20 s.
	ShutdownTimeout time.Duration
	// Logger defaults to slog.Default(). To see correlation ids in every line
	// its handler has to take them from the context.
	Logger *slog.Logger
}

// defaultDatabaseTimeout lets a client have its 503 within two seconds when the
// database is cut off.
const defaultDatabaseTimeout = 1500 * time.Millisecond

// Complete fills in the defaults, or returns an error that names every
// problem. addr is the default address of the service of that name.
func Complete(s Settings, name, addr string) (Settings, error) {
	s = s.withDefaults(addr)
	problems := s.problems()
	if len(problems) == 0 {
		return s, nil
	}
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = p.field + ": " + p.text
	}
	return s, fmt.Errorf("%s: settings: %s", name, strings.Join(lines, "; "))
}

// ListenAddr is Addr, as package program wants to know it.
func (s Settings) ListenAddr() string { return s.Addr }

// ServesTLS reports whether HTTPS is set, as package program wants to know it.
func (s Settings) ServesTLS() bool { return s.HTTPS.on() }

// Log is Logger, as package program wants to know it.
func (s Settings) Log() *slog.Logger { return s.Logger }

func (s Settings) withDefaults(addr string) Settings {
	s.Addr = cmp.Or(s.Addr, addr)
	s.StartTimeout = cmp.Or(s.StartTimeout, 30*time.Second)
	if s.DatabaseTimeout == 0 {
		s.DatabaseTimeout = defaultDatabaseTimeout
		if sqlstore.IsSQLite(s.DatabaseURL) {
			s.DatabaseTimeout = api.RequestTimeout
		}
	}
	s.ShutdownTimeout = cmp.Or(s.ShutdownTimeout, 20*time.Second)
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	return s
}

// problem is something wrong with a field.
type problem struct{ field, text string }

// problems returns everything that is wrong once defaults are filled in. No
// text holds a secret.
func (s Settings) problems() (problems []problem) {
	add := func(field, format string, args ...any) {
		problems = append(problems, problem{field, fmt.Sprintf(format, args...)})
	}
	if err := sqlstore.Check(s.DatabaseURL); err != nil {
		add("DatabaseURL", "%v", err)
	}
	if err := checkAMQP(s.AMQPURL); err != nil {
		add("AMQPURL", "%v", err)
	}
	if len(s.Audiences) > 0 && s.ManagementURL == "" && s.GetManagementURL == nil {
		add("ManagementURL", "is empty, and audiences are looked up through the management API; expected http://user:password@host:15672")
	}
	if len(s.Exchange) > 255 {
		add("Exchange", "%d bytes, at most 255 are allowed", len(s.Exchange))
	}
	_, port, err := net.SplitHostPort(s.Addr)
	if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
		add("Addr", "%q is not host:port with a port from 0 to 65535, such as 127.0.0.1:6101", s.Addr)
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"DatabaseTimeout", s.DatabaseTimeout}, {"StartTimeout", s.StartTimeout},
		{"DrainPeriod", s.DrainPeriod}, {"ShutdownTimeout", s.ShutdownTimeout},
	} {
		if d.value < 0 {
			add(d.field, "%v; must not be negative", d.value)
		}
	}
	return problems
}

// checkAMQP returns what is wrong with the URL of one or several brokers, without
// quoting it: it holds a password.
func checkAMQP(raw string) error {
	const hint = "expected amqp://user:password@host:5672/, with reserved characters in user and password percent-encoded"
	scheme, rest, _ := strings.Cut(raw, "://")
	switch {
	case raw == "":
		return errors.New("is empty; " + hint)
	case scheme != "amqp" && scheme != "amqps":
		return errors.New("does not begin with amqp:// or amqps://; " + hint)
	}
	login, hosts := "", rest
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		login, hosts = rest[:i+1], rest[i+1:]
	}
	hosts, path, _ := strings.Cut(hosts, "/")
	for host := range strings.SplitSeq(hosts, ",") {
		if _, err := amqp.ParseURI(scheme + "://" + login + host + "/" + path); err != nil {
			return errors.New("cannot be parsed; " + hint)
		}
	}
	return nil
}
