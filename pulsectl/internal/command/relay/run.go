// Package relay implements the command relay run.
package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/examples/telemetry"
	"github.com/asimalizada/pulse-events/internal/logging"
	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	process "github.com/asimalizada/pulse-events/pulsectl/internal/relay"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

const runDescription = "Publishes what any program inserts into outbox_messages: docs/sql-contract.md says how, in any language.\n" +
	"It runs until SIGTERM or Ctrl-C, finishes what is being published, and exits with 0.\n" +
	"Any number of relays share one outbox.\n" +
	"The broker may be down, now or later; the schema has to be there: pulsectl migrate up --only outbox.\n" +
	"Settings of a running stack are not used. The log goes to stderr."

// Command returns the command relay.
func Command(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "relay", Usage: "publish the messages of an outbox",
		Subcommands: []*cli.Command{{
			Name: "run", Usage: "run the relay as a process of its own, for producers in any language",
			Description: runDescription,
			Flags:       runFlags(),
			Action:      func(ctx *cli.Context) error { return readOptions(ctx).run(ctx.Context, e) },
		}},
	}
}

// fromEnv names the variable of a flag that only this command has.
func fromEnv(flag string) []string {
	return []string{"PULSE_RELAY_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))}
}

func runFlags() []cli.Flag {
	text := func(name, value, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Value: value, EnvVars: fromEnv(name), Usage: usage}
	}
	number := func(name, usage string) cli.Flag {
		return &cli.IntFlag{Name: name, EnvVars: fromEnv(name), Usage: usage, DefaultText: " "}
	}
	duration := func(name string, value time.Duration, usage string) cli.Flag {
		return &cli.DurationFlag{Name: name, Value: value, EnvVars: fromEnv(name), Usage: usage}
	}
	return []cli.Flag{
		text("producer", "", "`NAME` of the service that owns the outbox: sent as app_id; relays of another name are kept out"),
		text("exchange", "", "`NAME` of the exchange (default: pulse.events)"),
		text("exchange-type", "", "its `TYPE`: topic, direct, fanout, headers, or that of a plugin (default: topic)"),
		text("topology", "declare", "`WHAT` to do about the exchange: declare, verify, none"),
		text("format", "plain", "`FORMAT` of messages: plain, nestjs, cloudevents (in headers), cloudevents-structured (one JSON document)"),
		text("source", "", "CloudEvents: attribute source of all events, a `URI` reference such as /orders"),
		text("allow-unroutable", "", "`TOPICS` that need no queue, separated by commas: their messages count as published when no queue takes them"),
		text("audience", "", "`TOPIC=QUEUE` pairs, separated by commas: a message of the topic is published only while each of its queues is bound; needs --management-url"),
		&cli.BoolFlag{Name: "any-payload", EnvVars: fromEnv("any-payload"), Usage: "also publish payloads whose content type is JSON and that are not; by default such a message is dead"},
		number("lanes", "`N` batches published at the same time, up to 64 (default: 4)"),
		number("batch-size", "`N` messages read at once (default: 500)"),
		number("batch-bytes", "`N` bytes of payloads read at once; a larger message goes alone (default: 4194304)"),
		number("key-window", "`N` messages of one key and topic sent at once; more than 1 lets later ones pass one that the broker refuses (default: 1)"),
		duration("poll-interval", 100*time.Millisecond, "`DURATION` until the next look after one that did not fill a batch"),
		duration("max-poll-interval", 0, "`DURATION` to which this doubles while there is nothing to do (default: 1s, or --poll-interval if that is longer)"),
		text("notify-channel", "", "`CHANNEL` of NOTIFY by which producers in other processes wake this relay after a commit; needs PostgreSQL without a pooler"),
		duration("lease-ttl", 15*time.Second, "`DURATION` after which other relays take over from one that was killed"),
		number("max-attempts", "dead after `N` refusals by the broker (default: no limit)"),
		text("retention", "168h", "`DURATION` for which published and discarded messages are kept; forever; or delete: not at all"),
		duration("purge-interval", time.Minute, "`DURATION` from one purge to the next"),
		duration("start-timeout", 30*time.Second, "`DURATION` to wait at the start for a database that does not answer or refuses the role; 0: without end"),
		duration("shutdown-timeout", 30*time.Second, "`DURATION` that messages on their way may take after SIGTERM"),
		text("health-addr", "127.0.0.1:6108", "`HOST:PORT` for /health/live and /health/ready; off"),
		&cli.StringFlag{Name: metricsFlag, EnvVars: []string{metricsVariable}, Usage: "`HOST:PORT` for /metrics; off (default: " + metricsAddr + ")"},
		&cli.StringFlag{Name: "log-level", EnvVars: []string{"PULSE_LOG_LEVEL"}, Usage: "`LEVEL`: debug, info, warn, error (default: info)"},
		&cli.StringFlag{Name: "log-format", Value: "auto", EnvVars: []string{"PULSE_LOG_FORMAT"}, Usage: "`FORMAT`: auto (text on a terminal, else json), json, text"},
	}
}

type runOptions struct {
	producer, exchange, exchangeType, topology string
	format, source, allowUnroutable            string
	audience                                   string
	anyPayload                                 bool
	notifyChannel                              string
	retention                                  string
	startTimeout                               time.Duration
	healthAddr, metricsAddr                    string
	logLevel, logFormat                        string
	relay                                      outbox.RelayConfig
}

func readOptions(ctx *cli.Context) runOptions {
	return runOptions{
		producer: ctx.String("producer"), exchange: ctx.String("exchange"), exchangeType: ctx.String("exchange-type"), topology: ctx.String("topology"),
		format: ctx.String("format"), source: ctx.String("source"), allowUnroutable: ctx.String("allow-unroutable"), audience: ctx.String("audience"),
		anyPayload: ctx.Bool("any-payload"), notifyChannel: ctx.String("notify-channel"), retention: ctx.String("retention"), startTimeout: ctx.Duration("start-timeout"),
		healthAddr: ctx.String("health-addr"), metricsAddr: ctx.String(metricsFlag), logLevel: ctx.String("log-level"), logFormat: ctx.String("log-format"),
		relay: outbox.RelayConfig{
			Lanes: ctx.Int("lanes"), BatchSize: ctx.Int("batch-size"), BatchBytes: ctx.Int("batch-bytes"), MaxAttempts: ctx.Int("max-attempts"), KeyWindow: ctx.Int("key-window"),
			PollInterval: ctx.Duration("poll-interval"), MaxPollInterval: ctx.Duration("max-poll-interval"), LeaseTTL: ctx.Duration("lease-ttl"),
			PurgeInterval: ctx.Duration("purge-interval"), ShutdownTimeout: ctx.Duration("shutdown-timeout"),
		},
	}
}

// run runs the relay until ctx ends. That is no failure.
func (o runOptions) run(ctx context.Context, e *env.Env) (err error) {
	cfg, err := o.config(e)
	if err != nil {
		return err
	}
	observed, err := o.telemetry(e)
	if err != nil {
		return fail.Usagef("", "%v", err)
	}
	p, err := process.New(cfg)
	if err != nil {
		return fail.Usagef("run: pulsectl relay run --help", "%s", asFlags(err))
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	exports, err := telemetry.Start(ctx, observed, cfg.Logger)
	if err != nil {
		return fail.New(fail.General, "choose another address: --"+metricsFlag+" 127.0.0.1:0, or off", "%v", err)
	}
	defer exports.Shutdown() // when the relay has ended, and said all
	err = p.Run(ctx)
	if err != nil && ctx.Err() != nil {
		// It has been stopped, and could not finish what it was doing: that is its own
		// failure, and no interruption.
		failed := fail.From(fail.Wrap("the relay did not end in order", err))
		failed.Final = true
		return failed
	}
	return fail.Wrap("the relay has ended", err)
}

// Metrics are served where the example services serve theirs: by the same variable,
// on a port of their own.
const (
	metricsFlag     = "metrics-addr"
	metricsVariable = "PULSE_METRICS_ADDR"
	metricsAddr     = "127.0.0.1:6118"
)

// telemetry reads what is exported, by the OTEL_* variables, and where metrics are
// served. The error names every variable whose value is wrong.
func (o runOptions) telemetry(e *env.Env) (telemetry.Config, error) {
	lookup := func(name string) (string, bool) {
		value := e.Getenv(name)
		if name == metricsVariable {
			value = o.metricsAddr // the flag, or else the variable
		}
		return value, value != ""
	}
	return telemetry.FromEnv(lookup, o.service(), metricsAddr)
}

// service is what the log, health and telemetry call this process.
func (o runOptions) service() string { return cmp.Or(o.producer, "relay") }

// config collects the settings from flags and environment; every mistake is
// reported.
func (o runOptions) config(e *env.Env) (process.Config, error) {
	e.IgnoreRunning()
	var problems []error
	note := func(flag string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	read := func(value string, err error) string {
		if err != nil {
			problems = append(problems, err)
		}
		return value
	}
	files, err := e.AMQPTLS()
	if err != nil {
		problems = append(problems, err)
	}
	level, err := logging.ParseLevel(o.logLevel)
	note("log-level", err)
	format, err := logging.ParseFormat(o.logFormat)
	note("log-format", err)
	cfg := process.Config{
		DatabaseURL: read(e.OutboxURL()), GetDatabaseURL: e.Rotated(e.Flags.OutboxDB, "PULSE_OUTBOX_DB"),
		Relay: o.relay, AnyPayload: o.anyPayload, NotifyChannel: o.notifyChannel, StartTimeout: o.startTimeout, Logger: logging.New(e.IO.Err, format, level).With("service", o.service()),
	}
	cfg.Publisher = outboxrabbit.PublisherConfig{
		URL: read(e.AMQPURL()), GetURL: e.Rotated(e.Flags.AMQPURL, "PULSE_AMQP_URL"), GetTLS: files.Get(),
		Producer: o.producer, Exchange: o.exchange, ExchangeType: o.exchangeType, AllowUnroutable: topics(o.allowUnroutable),
	}
	cfg.Publisher.Audiences, err = outboxrabbit.ParseAudiences(o.audience)
	note("audience", err)
	if o.audience != "" {
		cfg.Publisher.ManagementURL = read(e.Setting(e.Flags.ManagementURL, "PULSE_MANAGEMENT_URL", func(stack.State) string { return "" }))
		cfg.Publisher.GetManagementURL = e.Rotated(e.Flags.ManagementURL, "PULSE_MANAGEMENT_URL")
	}
	cfg.Publisher.Topology, err = process.ParseTopology(o.topology)
	note("topology", err)
	cfg.Publisher.Codec, err = process.ParseFormat(o.format, o.source)
	note("format", err)
	cfg.Relay.Retention, err = process.ParseRetention(o.retention)
	note("retention", err)
	cfg.HealthAddr, err = process.ParseAddr(o.healthAddr)
	note("health-addr", err)
	if o.startTimeout < 0 {
		note("start-timeout", fmt.Errorf("%v; must not be negative", o.startTimeout))
	}
	return cfg, allUsage(problems)
}

// topics returns a function that finds a topic in a list separated by commas; nil
// for an empty one.
func topics(list string) func(string) bool {
	listed := make(map[string]bool)
	for topic := range strings.SplitSeq(list, ",") {
		if topic = strings.TrimSpace(topic); topic != "" {
			listed[topic] = true
		}
	}
	if len(listed) == 0 {
		return nil
	}
	return func(topic string) bool { return listed[topic] }
}

// allUsage makes one error of several, so that all are seen at once.
func allUsage(problems []error) error {
	if len(problems) == 0 {
		return nil
	}
	lines := make([]string, len(problems))
	for i, problem := range problems {
		lines[i] = problem.Error()
	}
	return fail.Usagef("run: pulsectl relay run --help", "%s", strings.Join(lines, "\n"))
}

// asFlags names the flags instead of the fields in the text of an error.
func asFlags(err error) string {
	return strings.NewReplacer(
		"outbox: relay: ", "", "rabbitmq publisher: ", "", "postgres: listener: ", "",
		"NotifyChannel:", "--notify-channel:", "Channel:", "--notify-channel:", "Lanes:", "--lanes:", "BatchSize:", "--batch-size:", "BatchBytes:", "--batch-bytes:", "KeyWindow:", "--key-window:", "MaxPollInterval:", "--max-poll-interval:", "PollInterval:", "--poll-interval:",
		"LeaseTTL:", "--lease-ttl:", "PurgeInterval:", "--purge-interval:", "ShutdownTimeout:", "--shutdown-timeout:",
		"MaxAttempts:", "--max-attempts:", "Audiences:", "--audience:", "set ManagementURL,", "set --management-url,", "ManagementURL:", "--management-url:", "ExchangeType:", "--exchange-type:", "Exchange:", "--exchange:", "Producer:", "--producer:",
	).Replace(err.Error())
}
