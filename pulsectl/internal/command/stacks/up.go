// Package stacks implements the commands about the stack as a whole: up, down,
// status and chaos.
package stacks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/internal/logging"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/web"
	"github.com/asimalizada/pulse-events/pulsectl/internal/compose"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// upTimeout limits the start of a stack in the background.
const upTimeout = time.Minute

const upDescription = "embedded and external run in this process until Ctrl-C, or in the background with --detach.\n" +
	"compose builds and starts containers, waits until all are healthy and returns: they keep running without pulsectl."

type upOptions struct {
	stack                         string
	ordersAddr, notificationsAddr string
	stopCmd, startCmd             string
	dbStopCmd, dbStartCmd         string
	composeFile, profile          string
	brokerAddr, dataDir           string
	uiAddr                        string
	uiAsked                       bool // an address was given
	ephemeral                     bool
	auth, tls                     bool
	rateLimit, callerRateLimit    string
	logLevel, logFormat           string
	detach                        bool
	timeout                       time.Duration
}

func profileFlag() cli.Flag {
	return &cli.StringFlag{Name: "profile", Usage: "compose: `NAME` of the services' profile: stdlib, gin (env COMPOSE_PROFILES, also in .env; default: stdlib)"}
}

func composeFileFlag() cli.Flag {
	return &cli.StringFlag{Name: "compose-file", Usage: "compose: `FILE` (env PULSE_COMPOSE_FILE; default: the nearest " + compose.FileName + ", here or above)"}
}

// Up returns the command up.
func Up(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "up", Usage: "run orders, relay, consumer and notifications: in one process, or in containers",
		Description: upDescription,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "stack", Value: string(stack.Embedded), Usage: "`KIND`: embedded uses SQLite files and its own broker; compose runs all in containers; external runs on --outbox-db, --inbox-db and --amqp-url"},
			&cli.StringFlag{Name: "data-dir", Usage: "embedded: `DIR` for its files (default: data in the state directory)"},
			&cli.BoolFlag{Name: "ephemeral", Usage: "embedded: use a temporary directory that is deleted with the stack"},
			&cli.StringFlag{Name: "broker-addr", Value: "127.0.0.1:5673", EnvVars: []string{"PULSE_BROKER_ADDR"}, Usage: "embedded: `HOST:PORT` of the broker"},
			&cli.StringFlag{Name: "orders-addr", Value: "127.0.0.1:6101", EnvVars: []string{"PULSE_ORDERS_ADDR"}, Usage: "`HOST:PORT` of the orders service"},
			&cli.StringFlag{Name: "notifications-addr", Value: "127.0.0.1:6102", EnvVars: []string{"PULSE_NOTIFICATIONS_ADDR"}, Usage: "`HOST:PORT` of the notifications service"},
			&cli.StringFlag{Name: "ui-addr", Value: web.DefaultAddr, EnvVars: []string{"PULSE_UI_ADDR"}, Usage: "embedded, external: `HOST:PORT` of the web page, on loopback; if the default is in use, a free port"},
			&cli.StringFlag{Name: "stop-cmd", Usage: "external: shell `COMMAND` for chaos broker-down (env PULSE_BROKER_STOP_CMD)"},
			&cli.StringFlag{Name: "start-cmd", Usage: "external: shell `COMMAND` for chaos broker-up (env PULSE_BROKER_START_CMD)"},
			&cli.StringFlag{Name: "db-stop-cmd", Usage: "external: shell `COMMAND` for chaos db-down (env PULSE_DB_STOP_CMD)"},
			&cli.StringFlag{Name: "db-start-cmd", Usage: "external: shell `COMMAND` for chaos db-up (env PULSE_DB_START_CMD)"},
			&cli.BoolFlag{Name: "auth", Usage: "ask callers for a bearer token; one is made, which pulsectl sends and pulsectl token show prints (external, compose: always)"},
			&cli.BoolFlag{Name: "tls", Usage: "embedded, external: serve HTTPS, by an authority that is made anew at each start, and that pulsectl trusts"},
			&cli.StringFlag{Name: "rate-limit", Usage: "embedded, external: `RATE` of requests to each service, such as 500/s or 600/m (env PULSE_RATE_LIMIT; default: no limit)"},
			&cli.StringFlag{Name: "rate-limit-per-caller", Usage: "embedded, external: `RATE` of one token, or of one address without a token (env PULSE_RATE_LIMIT_PER_CALLER)"},
			profileFlag(), composeFileFlag(),
			&cli.StringFlag{Name: "log-level", EnvVars: []string{"PULSE_LOG_LEVEL"}, Usage: "`LEVEL`: debug, info, warn, error (default: info; warn on a terminal)"},
			&cli.StringFlag{Name: "log-format", Value: "auto", EnvVars: []string{"PULSE_LOG_FORMAT"}, Usage: "`FORMAT`: auto, json, text"},
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "return once the stack is ready, and leave it running; compose always does"},
			&cli.DurationFlag{Name: "timeout", Usage: "detached, compose: give up after `DURATION` with exit code 7 (default: 1m; compose: 5m, once images are pulled and built)"},
		},
		Action: func(ctx *cli.Context) error {
			return upOptions{
				stack: ctx.String("stack"), ordersAddr: ctx.String("orders-addr"), notificationsAddr: ctx.String("notifications-addr"),
				dataDir: ctx.String("data-dir"), ephemeral: ctx.Bool("ephemeral"), brokerAddr: ctx.String("broker-addr"),
				uiAddr: ctx.String("ui-addr"), uiAsked: ctx.IsSet("ui-addr"),
				auth: ctx.Bool("auth"), tls: ctx.Bool("tls"), rateLimit: ctx.String("rate-limit"), callerRateLimit: ctx.String("rate-limit-per-caller"),
				stopCmd: ctx.String("stop-cmd"), startCmd: ctx.String("start-cmd"),
				dbStopCmd: ctx.String("db-stop-cmd"), dbStartCmd: ctx.String("db-start-cmd"),
				composeFile: ctx.String("compose-file"), profile: ctx.String("profile"),
				logLevel: ctx.String("log-level"), logFormat: ctx.String("log-format"),
				detach: ctx.Bool("detach"), timeout: ctx.Duration("timeout"),
			}.run(ctx.Context, e)
		},
	}
}

func (o upOptions) run(ctx context.Context, e *env.Env) (err error) {
	detached := e.Getenv(detachedEnv) != ""
	defer func() {
		if detached && err != nil {
			tellParent(err)
		}
	}()
	dir, err := e.Dir()
	if err != nil {
		return stack.CannotStart(err)
	}
	driver, cfg, err := stackConfig(e, dir, o)
	if err != nil {
		return err
	}
	if o.detach && !driver.Detached() {
		return upDetached(ctx, e, dir, cmp.Or(o.timeout, upTimeout))
	}
	if detached {
		cfg.LogFile = stack.LogPath(dir)
	}
	if driver.Detached() {
		var shown error
		err = driver.Up(ctx, cfg, func(s stack.State) { shown = announce(e, s) })
		return cmp.Or(err, shown)
	}
	return o.upWithPage(ctx, e, driver, cfg)
}

// upWithPage runs a stack in this process, and its web page beside it. The stack
// does not need the page: an error of that is logged.
func (o upOptions) upWithPage(ctx context.Context, e *env.Env, driver stack.Driver, cfg stack.Config) error {
	ln, err := web.Listen("ui-addr", o.uiAddr, o.uiAsked)
	if err != nil {
		return err
	}
	defer ln.Close()
	cfg.UIURL = web.URL(ln)
	ctx, cancel := context.WithCancel(ctx)
	var page sync.WaitGroup
	defer page.Wait()
	defer cancel()
	return driver.Up(ctx, cfg, func(s stack.State) {
		page.Go(func() {
			if err := web.ServeStack(ctx, ln, e, s, cfg.Logger); err != nil {
				cfg.Logger.Error("the web page ended", "error", err)
			}
		})
		_ = announce(e, s) // where nobody reads it, the stack runs all the same
	})
}

// stackConfig collects the settings from flags and environment only; settings
// that another stack has recorded are not used.
func stackConfig(e *env.Env, dir string, o upOptions) (stack.Driver, stack.Config, error) {
	e.IgnoreRunning()
	var errs []error
	if o.logLevel == "" && e.IO.ErrTTY { // on a terminal only the start and problems are reported
		o.logLevel = "warn"
	}
	level, err := logging.ParseLevel(o.logLevel)
	if err != nil {
		errs = append(errs, fail.Usagef("", "--log-level: %v", err))
	}
	format, err := logging.ParseFormat(o.logFormat)
	if err != nil {
		errs = append(errs, fail.Usagef("", "--log-format: %v", err))
	}
	cfg := stack.Config{
		OrdersAddr: o.ordersAddr, NotificationsAddr: o.notificationsAddr,
		BrokerAddr: o.brokerAddr, DataDir: o.dataDir, Ephemeral: o.ephemeral,
		Auth: o.auth, TLS: o.tls, RateLimit: o.rateLimit, CallerRateLimit: o.callerRateLimit,
		ComposeFile: o.composeFile, Profile: o.profile, Timeout: o.timeout, Getenv: e.Getenv,
		Dir: dir, Logger: logging.New(e.IO.Err, format, level), Console: e.IO,
	}
	errs = append(errs, append(cfg.Check(), web.CheckAddr("ui-addr", o.uiAddr))...)
	driver, known := stack.DriverOf(stack.Kind(o.stack))
	if known {
		errs = append(errs, driver.Configure(&cfg, func() (stack.Services, []error) { return services(e, o) })...)
	} else {
		errs = append(errs, fail.Usagef("have: embedded, compose, external", "--stack: unknown stack %q", o.stack))
		errs = append(errs, cfg.CheckForeign()...)
	}
	return driver, cfg, allUsage(errs)
}

// services returns the servers that flags and environment name.
func services(e *env.Env, o upOptions) (s stack.Services, errs []error) {
	read := func(value string, err error) string {
		errs = append(errs, err)
		return value
	}
	s.OutboxDB, s.InboxDB, s.AMQPURL = read(e.OutboxURL()), read(e.InboxURL()), read(e.AMQPURL())
	files, err := e.AMQPTLS()
	errs = append(errs, err)
	s.Rotated = stack.Rotated{
		OutboxDB: e.Rotated(e.Flags.OutboxDB, "PULSE_OUTBOX_DB"), InboxDB: e.Rotated(e.Flags.InboxDB, "PULSE_INBOX_DB"),
		AMQPURL: e.Rotated(e.Flags.AMQPURL, "PULSE_AMQP_URL"), AMQPTLS: files.Get(),
	}
	s.BrokerStopCmd = read(e.Setting(o.stopCmd, "PULSE_BROKER_STOP_CMD", nil))
	s.BrokerStartCmd = read(e.Setting(o.startCmd, "PULSE_BROKER_START_CMD", nil))
	s.DBStopCmd = read(e.Setting(o.dbStopCmd, "PULSE_DB_STOP_CMD", nil))
	s.DBStartCmd = read(e.Setting(o.dbStartCmd, "PULSE_DB_START_CMD", nil))
	return s, errs
}

// allUsage combines several errors, so that the user sees all of them at once.
func allUsage(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 0 {
		return nil
	}
	if len(errs) == 1 {
		return errs[0]
	}
	var messages []string
	for _, err := range errs {
		f := fail.From(err)
		if f.Kind != fail.Usage {
			return err
		}
		messages = append(messages, f.Message)
	}
	return fail.Usagef("run: pulsectl up --help", "%s", strings.Join(messages, "\n"))
}

// announce prints where everything is and what to type next.
func announce(e *env.Env, s stack.State) error {
	dir, err := e.Dir()
	if err != nil {
		return err
	}
	s = s.Redacted()
	about := s.Driver().Describe(s)
	if e.IO.Structured() {
		return console.RenderOne(e.IO, stateColumns(s), s)
	}
	lines := []string{
		"", fmt.Sprintf("%s (%s stack, %s)", e.IO.Paint(console.Good, "ready"), s.Stack, about.Place),
		"  orders         " + s.OrdersURL, "  notifications  " + s.NotificationsURL,
		"  outbox         " + s.OutboxDB, "  inbox          " + s.InboxDB, "  broker         " + s.AMQPURL,
	}
	lines = append(lines, "  authentication "+authentication(e, s))
	if s.APICAFile != "" {
		lines = append(lines, "  HTTPS          for others than pulsectl: curl --cacert "+console.Quoted(s.APICAFile))
	}
	if s.UIURL != "" {
		lines = append(lines, "  web page       "+s.UIURL)
	}
	if s.RabbitMQUIURL != "" {
		lines = append(lines, "  RabbitMQ UI    "+s.RabbitMQUIURL+"  (user and password: see amqpUrl in "+stack.Path(dir)+")")
	}
	name := "metrics        "
	for _, url := range s.MetricsURLs() {
		lines = append(lines, "  "+name+url)
		name = "               "
	}
	for _, place := range []struct{ name, url string }{
		{"Grafana        ", s.GrafanaURL}, {"Prometheus     ", s.PrometheusURL}, {"Jaeger         ", s.JaegerURL},
	} {
		if place.url != "" {
			lines = append(lines, "  "+place.name+place.url)
		}
	}
	if about.Warning != "" {
		lines = append(lines, "", e.IO.Paint(console.Warn, "NOT FOR PRODUCTION:")+" "+about.Warning)
	}
	lines = append(lines, "", about.Try,
		"  pulsectl order create --customer customer-123 --amount 77.5",
		"  pulsectl outbox ls", "  pulsectl chaos broker-down", "  pulsectl top", "  pulsectl verify", about.Stop, "")
	for _, line := range lines {
		e.IO.Println(line)
	}
	return nil
}

// authentication says whether the services ask who calls.
func authentication(e *env.Env, s stack.State) string {
	if s.APIToken == "" {
		return e.IO.Paint(console.Warn, "OFF:") + " whoever reaches a port can place orders and read all of them"
	}
	return `on; for others than pulsectl: -H "Authorization: Bearer $(pulsectl token show)"`
}

// stateColumns returns the columns for a running stack. Its id is the process
// id, or else the project.
func stateColumns(s stack.State) []console.Column[stack.State] {
	detached := s.Driver().Detached()
	return []console.Column[stack.State]{
		{Key: "stack", Value: func(s stack.State) any { return string(s.Stack) }},
		{Key: "pid", Value: func(s stack.State) any {
			if s.PID == 0 { // containers
				return nil
			}
			return s.PID
		}, ID: !detached},
		{Key: "startedAt", Value: func(s stack.State) any { return s.StartedAt }},
		{Key: "ordersUrl", Value: func(s stack.State) any { return s.OrdersURL }},
		{Key: "notificationsUrl", Value: func(s stack.State) any { return s.NotificationsURL }},
		{Key: "outboxDb", Value: func(s stack.State) any { return s.OutboxDB }},
		{Key: "inboxDb", Value: func(s stack.State) any { return s.InboxDB }},
		{Key: "amqpUrl", Value: func(s stack.State) any { return s.AMQPURL }},
		{Key: "dataDir", Value: func(s stack.State) any { return s.DataDir }},
		{Key: "logFile", Value: func(s stack.State) any { return s.LogFile }},
		{Key: "apiCaFile", Value: func(s stack.State) any { return s.APICAFile }},
		{Key: "uiUrl", Value: func(s stack.State) any { return s.UIURL }},
		{Key: "rabbitmqUiUrl", Value: func(s stack.State) any { return s.RabbitMQUIURL }},
		{Key: "ordersMetricsUrl", Value: func(s stack.State) any { return s.OrdersMetricsURL }},
		{Key: "notificationsMetricsUrl", Value: func(s stack.State) any { return s.NotificationsMetricsURL }},
		{Key: "prometheusUrl", Value: func(s stack.State) any { return s.PrometheusURL }},
		{Key: "grafanaUrl", Value: func(s stack.State) any { return s.GrafanaURL }},
		{Key: "jaegerUrl", Value: func(s stack.State) any { return s.JaegerURL }},
		{Key: "project", Value: func(s stack.State) any { return s.Project }, ID: detached},
		{Key: "profiles", Value: func(s stack.State) any { return s.Profiles }},
		{Key: "composeFile", Value: func(s stack.State) any { return s.ComposeFile }},
	}
}
