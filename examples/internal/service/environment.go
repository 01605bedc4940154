package service

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/examples/auth"
	"github.com/asimalizada/pulse-events/examples/internal/api"
	"github.com/asimalizada/pulse-events/examples/internal/settings"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// Environment variables. Those with a secret in them may instead be given as
// a file, under the name with _FILE at its end.
const (
	envOrdersDB          = "PULSE_OUTBOX_DB" // or _FILE
	envNotificationsDB   = "PULSE_INBOX_DB"  // or _FILE
	envAMQP              = "PULSE_AMQP_URL"  // or _FILE
	envAMQPCA            = "PULSE_AMQP_CA_FILE"
	envAMQPCert          = "PULSE_AMQP_CERT_FILE"
	envAMQPKey           = "PULSE_AMQP_KEY_FILE"
	envTopology          = "PULSE_TOPOLOGY"       // declare (default), verify, none
	envAudience          = "PULSE_AUDIENCE"       // such as order.created=billing,order.created=shipping
	envManagement        = "PULSE_MANAGEMENT_URL" // or _FILE; of RabbitMQ, for the audience
	envOrdersAddr        = "PULSE_ORDERS_ADDR"
	envNotificationsAddr = "PULSE_NOTIFICATIONS_ADDR"
	envAllowedHosts      = "PULSE_ALLOWED_HOSTS" // separated by commas
	envHTTPCert          = "PULSE_HTTP_CERT_FILE"
	envHTTPKey           = "PULSE_HTTP_KEY_FILE"
	envHTTPClientCA      = "PULSE_HTTP_CLIENT_CA_FILE"
	envDrainPeriod       = "PULSE_DRAIN_PERIOD"          // default 5s
	envRateLimit         = "PULSE_RATE_LIMIT"            // such as 500/s; in all
	envCallerRateLimit   = "PULSE_RATE_LIMIT_PER_CALLER" // such as 20/s
	envAutoMigrate       = "PULSE_AUTO_MIGRATE"          // default true
	envLogLevel          = "PULSE_LOG_LEVEL"             // debug, info, warn, error
	envLogFormat         = "PULSE_LOG_FORMAT"            // auto, json, text
)

// defaultDrainPeriod is about what Kubernetes takes to send requests elsewhere.
const defaultDrainPeriod = 5 * time.Second

// OrdersFromEnv reads the settings of the orders service: PULSE_OUTBOX_DB and
// PULSE_AMQP_URL (each also as _FILE), both required; PULSE_AMQP_CA_FILE,
// PULSE_AMQP_CERT_FILE and PULSE_AMQP_KEY_FILE for amqps; PULSE_ORDERS_ADDR,
// which defaults to addr; PULSE_ALLOWED_HOSTS, PULSE_DRAIN_PERIOD (default 5s),
// PULSE_AUTO_MIGRATE (default true), PULSE_LOG_LEVEL and PULSE_LOG_FORMAT.
// PULSE_TOPOLOGY is declare (default), verify or none. PULSE_AUDIENCE, such as
// order.created=billing, names queues that must get a topic, with
// PULSE_MANAGEMENT_URL (or _FILE).
// PULSE_HTTP_CERT_FILE, PULSE_HTTP_KEY_FILE and PULSE_HTTP_CLIENT_CA_FILE are for
// HTTPS. PULSE_AUTH_TOKENS_FILE, PULSE_AUTH_JWKS_URL or PULSE_AUTH_JWKS_FILE says which
// tokens are taken, with further variables for JWTs; without any of them
// PULSE_AUTH=off is required. docs/security.md describes them.
// lookup is os.LookupEnv or the like; logs is where the logger writes. The
// error names every problem by its variable and holds no secret.
func OrdersFromEnv(lookup func(string) (string, bool), logs io.Writer, addr string) (Settings, error) {
	return fromEnv(lookup, logs, envOrdersDB, envOrdersAddr, addr, readAudiences)
}

// NotificationsFromEnv reads the settings of the notifications service, as
// OrdersFromEnv does, from PULSE_INBOX_DB and PULSE_NOTIFICATIONS_ADDR.
func NotificationsFromEnv(lookup func(string) (string, bool), logs io.Writer, addr string) (Settings, error) {
	return fromEnv(lookup, logs, envNotificationsDB, envNotificationsAddr, addr)
}

func fromEnv(lookup func(string) (string, bool), logs io.Writer, envDB, envAddr, addr string, more ...func(*settings.Reader, *Settings)) (Settings, error) {
	env := settings.NewReader(lookup)
	s := Settings{
		Addr:        env.String(envAddr, addr),
		AutoMigrate: env.Bool(envAutoMigrate, true),
		DrainPeriod: env.Duration(envDrainPeriod, defaultDrainPeriod),
	}
	for host := range strings.SplitSeq(env.String(envAllowedHosts, ""), ",") {
		if host = strings.TrimSpace(host); host != "" {
			s.AllowedHosts = append(s.AllowedHosts, host)
		}
	}
	s.DatabaseURL, s.GetDatabaseURL = env.Secret(envDB)
	s.AMQPURL, s.GetAMQPURL = env.Secret(envAMQP)
	files := tlsFiles{CA: env.String(envAMQPCA, ""), Cert: env.String(envAMQPCert, ""), Key: env.String(envAMQPKey, "")}
	if _, err := files.load(); err != nil {
		env.Problem(envAMQPCA, err)
	}
	s.GetAMQPTLS = files.get()
	var err error
	if s.Topology, err = parseTopology(env.String(envTopology, "")); err != nil {
		env.Problem(envTopology, err)
	}
	for _, read := range more {
		read(env, &s)
	}
	s.HTTPS = HTTPS{Cert: env.String(envHTTPCert, ""), Key: env.String(envHTTPKey, ""), ClientCA: env.String(envHTTPClientCA, "")}
	if s.HTTPS.on() {
		if _, err := s.HTTPS.open(slog.Default()); err != nil {
			env.Problem(envHTTPCert, err)
		}
	}
	level, err := parseLevel(env.String(envLogLevel, ""))
	if err != nil {
		env.Problem(envLogLevel, err)
	}
	asText, err := parseFormat(env.String(envLogFormat, ""), logs)
	if err != nil {
		env.Problem(envLogFormat, err)
	}
	s.Logger = NewLogger(logs, asText, level)
	s.Auth = auth.Read(env, s.Logger)
	s.Limits = readLimits(env)

	variables := map[string]string{"DatabaseURL": envDB, "AMQPURL": envAMQP, "Addr": envAddr, "DrainPeriod": envDrainPeriod, "ManagementURL": envManagement}
	for _, p := range s.withDefaults(addr).problems() {
		env.Problem(cmp.Or(variables[p.field], p.field), errors.New(p.text))
	}
	return s, env.Err()
}

// ReadLimits sets Limits as PULSE_RATE_LIMIT and PULSE_RATE_LIMIT_PER_CALLER say, such
// as 500/s; without them there are none. lookup is as for OrdersFromEnv.
func (s *Settings) ReadLimits(lookup func(string) (string, bool)) error {
	env := settings.NewReader(lookup)
	s.Limits = readLimits(env)
	return env.Err()
}

func readLimits(env *settings.Reader) api.Limits {
	return api.Limits{All: env.Rate(envRateLimit), PerCaller: env.Rate(envCallerRateLimit)}
}

// readAudiences is for the service that publishes.
func readAudiences(env *settings.Reader, s *Settings) {
	var err error
	if s.Audiences, err = rabbitmq.ParseAudiences(env.String(envAudience, "")); err != nil {
		env.Problem(envAudience, err)
	}
	s.ManagementURL, s.GetManagementURL = env.Secret(envManagement)
}

func parseTopology(text string) (rabbitmq.Topology, error) {
	for _, t := range []rabbitmq.Topology{rabbitmq.Declare, rabbitmq.Verify, rabbitmq.None} {
		if text == t.String() {
			return t, nil
		}
	}
	if text != "" {
		return rabbitmq.Declare, fmt.Errorf("%q is none of declare, verify, none", text)
	}
	return rabbitmq.Declare, nil
}
