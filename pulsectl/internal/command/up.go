package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unicode"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/internal/logging"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// upTimeout bounds the start of a stack in the background, composeTimeout that
// of containers, once their images are there.
const (
	upTimeout      = time.Minute
	composeTimeout = 5 * time.Minute
)

const upDescription = "embedded and external run in this process until Ctrl-C, or in the background with --detach.\n" +
	"compose builds and starts containers, waits until all are healthy and returns: they run on without pulsectl."

type upOptions struct {
	stack                         string
	ordersAddr, notificationsAddr string
	stopCmd, startCmd             string
	dbStopCmd, dbStartCmd         string
	composeFile, profile          string
	brokerAddr, dataDir           string
	ephemeral                     bool
	logLevel, logFormat           string
	detach                        bool
	timeout                       time.Duration
}

func upCommand(env *Env) *cli.Command {
	return &cli.Command{
		Name: "up", Usage: "run orders, relay, consumer and notifications: in one process, or in containers",
		Description: upDescription,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "stack", Value: string(stack.Embedded), Usage: "`KIND`: embedded brings SQLite files and a broker along; compose runs all in containers; external runs on --outbox-db, --inbox-db and --amqp-url"},
			&cli.StringFlag{Name: "data-dir", Usage: "embedded: `FOLDER` of its files (default: data in the state directory)"},
			&cli.BoolFlag{Name: "ephemeral", Usage: "embedded: keep the files in a temporary folder that goes with the stack"},
			&cli.StringFlag{Name: "broker-addr", Value: "127.0.0.1:5673", EnvVars: []string{"PULSE_BROKER_ADDR"}, Usage: "embedded: `HOST:PORT` of the broker"},
			&cli.StringFlag{Name: "orders-addr", Value: "127.0.0.1:6101", EnvVars: []string{"PULSE_ORDERS_ADDR"}, Usage: "`HOST:PORT` of the orders service"},
			&cli.StringFlag{Name: "notifications-addr", Value: "127.0.0.1:6102", EnvVars: []string{"PULSE_NOTIFICATIONS_ADDR"}, Usage: "`HOST:PORT` of the notifications service"},
			&cli.StringFlag{Name: "stop-cmd", Usage: "external: shell `COMMAND` for chaos broker-down (env PULSE_BROKER_STOP_CMD)"},
			&cli.StringFlag{Name: "start-cmd", Usage: "external: shell `COMMAND` for chaos broker-up (env PULSE_BROKER_START_CMD)"},
			&cli.StringFlag{Name: "db-stop-cmd", Usage: "external: shell `COMMAND` for chaos db-down (env PULSE_DB_STOP_CMD)"},
			&cli.StringFlag{Name: "db-start-cmd", Usage: "external: shell `COMMAND` for chaos db-up (env PULSE_DB_START_CMD)"},
			profileFlag(), composeFileFlag(),
			&cli.StringFlag{Name: "log-level", EnvVars: []string{"PULSE_LOG_LEVEL"}, Usage: "`LEVEL`: debug, info, warn, error (default: info; warn on a terminal)"},
			&cli.StringFlag{Name: "log-format", Value: "auto", EnvVars: []string{"PULSE_LOG_FORMAT"}, Usage: "`FORMAT`: auto, json, text"},
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "return once all is ready, and leave it running; compose does so anyway"},
			&cli.DurationFlag{Name: "timeout", Usage: "detached, compose: give up after `DURATION` with exit code 7 (default: 1m; compose: 5m, once images are pulled and built)"},
		},
		Action: func(ctx *cli.Context) error {
			return env.up(ctx.Context, upOptions{
				stack: ctx.String("stack"), ordersAddr: ctx.String("orders-addr"), notificationsAddr: ctx.String("notifications-addr"),
				dataDir: ctx.String("data-dir"), ephemeral: ctx.Bool("ephemeral"), brokerAddr: ctx.String("broker-addr"),
				stopCmd: ctx.String("stop-cmd"), startCmd: ctx.String("start-cmd"),
				dbStopCmd: ctx.String("db-stop-cmd"), dbStartCmd: ctx.String("db-start-cmd"),
				composeFile: ctx.String("compose-file"), profile: ctx.String("profile"),
				logLevel: ctx.String("log-level"), logFormat: ctx.String("log-format"),
				detach: ctx.Bool("detach"), timeout: ctx.Duration("timeout"),
			})
		},
	}
}

func (e *Env) up(ctx context.Context, o upOptions) (err error) {
	detached := e.getenv(detachedEnv) != ""
	defer func() {
		if detached && err != nil {
			tellParent(err)
		}
	}()
	dir, err := e.dir()
	if err != nil {
		return cannotStart(err)
	}
	cfg, err := e.stackConfig(o)
	if err != nil {
		return err
	}
	if cfg.Kind == stack.Compose {
		return e.upCompose(ctx, dir, o)
	}
	cfg.Dir = dir
	if o.detach {
		return e.upDetached(ctx, dir, cmp.Or(o.timeout, upTimeout))
	}
	if detached {
		cfg.LogFile = stack.LogPath(dir)
	}
	if cfg.Kind == stack.Embedded {
		cfg.DataDir = cmp.Or(o.dataDir, stack.DefaultDataDir(dir))
		if o.ephemeral {
			if cfg.DataDir, err = os.MkdirTemp("", "pulse-events-"); err != nil {
				return fail.Wrap("cannot make a temporary folder", err)
			}
			defer func() { err = errors.Join(err, os.RemoveAll(cfg.DataDir)) }()
		}
	}
	return e.run(ctx, cfg)
}

// run runs a stack in this process until ctx ends.
func (e *Env) run(ctx context.Context, cfg stack.Config) error {
	if s, err := stack.Load(cfg.Dir); err == nil || errors.As(err, new(*stack.StartingError)) {
		return errRunning(s, err)
	}
	e.IO.Notef("starting the %s stack", cfg.Kind)
	var waitedFor atomic.Value
	waitedFor.Store("the stack")
	cfg.Waiting = func(service string) { waitedFor.Store("the " + service + " service") }
	stopReminding := e.IO.Remind(func() string { return waitedFor.Load().(string) + " to be ready" })
	defer stopReminding()
	stopTelling := context.AfterFunc(ctx, func() {
		e.IO.Notef("stopping, once what has begun is finished; Ctrl-C again ends it at once")
	})
	defer stopTelling()

	ready := false
	err := stack.Run(ctx, cfg, func(s stack.State) {
		stopReminding()
		ready = true
		e.announce(s)
	})
	switch taken := new(stack.PortTakenError); {
	case errors.Is(err, stack.ErrRunning):
		return errRunning(stack.Load(cfg.Dir))
	case errors.As(err, &taken):
		return fail.New(fail.General, "stop it, or choose another address: pulsectl up --"+taken.Flag+" 127.0.0.1:0", "%v", err)
	case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
		if !ready {
			return fail.New(fail.Interrupted, "", "interrupted, before the stack was ready")
		}
		return nil // asked to stop, and did
	case err == nil:
		return nil
	case !ready:
		f := fail.From(cannotStart(err))
		if f.Hint == "" && cfg.Kind == stack.Embedded {
			f.Hint = "is there room: df -h " + quoted(cfg.DataDir) + "; or start with other data: pulsectl up --ephemeral"
		}
		return f
	}
	return fail.Wrap("the stack ended", err)
}

// quoted is a path as one types it into a shell.
func quoted(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool {
		return !strings.ContainsRune("/._-+=:@%", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

// errRunning: there is one stack at a time. s and err are what Load says of it.
func errRunning(s stack.State, err error) error {
	const hint = "use it, or stop it first: pulsectl down"
	switch starting := new(stack.StartingError); {
	case errors.As(err, &starting):
		return fail.New(fail.General, hint, "%v", starting)
	case err == nil && s.Stack == stack.Compose:
		return fail.New(fail.General, hint, "a stack is running already: compose, project %s, profile %s", s.Project, s.Profiles)
	case err == nil:
		return fail.New(fail.General, hint, "a stack is running already: %s, process %d", s.Stack, s.PID)
	}
	return fail.New(fail.General, hint, "a stack is running already")
}

// cannotStart says what to do where the files of a stack cannot be used.
func cannotStart(err error) error {
	f := fail.From(fail.Wrap("cannot start", err))
	if f.Hint == "" && (errors.Is(err, stack.ErrNoDir) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC)) {
		f.Hint = "name a folder with room that you may write to: PULSE_STATE_DIR=/tmp/pulse-events pulsectl up"
	}
	return f
}

// stackConfig gathers the settings. They come from flags and environment
// only: what another stack has noted is not ours.
func (e *Env) stackConfig(o upOptions) (stack.Config, error) {
	e.stateErr = stack.ErrNotRunning
	var errs []error
	read := func(value string, err error) string {
		errs = append(errs, err)
		return value
	}
	if o.logLevel == "" && e.IO.ErrTTY { // a person is told when all is ready, and of trouble
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
		Kind: stack.Kind(o.stack), OrdersAddr: o.ordersAddr, NotificationsAddr: o.notificationsAddr,
		BrokerAddr: o.brokerAddr, Logger: logging.New(e.IO.Err, format, level),
	}
	errs = append(errs, checkAddr("orders-addr", o.ordersAddr), checkAddr("notifications-addr", o.notificationsAddr))
	switch cfg.Kind {
	case stack.Embedded:
		errs = append(errs, checkAddr("broker-addr", o.brokerAddr))
		if host, _, err := net.SplitHostPort(o.brokerAddr); err == nil && host != "localhost" && !net.ParseIP(host).IsLoopback() {
			errs = append(errs, fail.Usagef("for example: --broker-addr 127.0.0.1:5673", "--broker-addr: %s can be reached from other machines, and the password of this broker is public", o.brokerAddr))
		}
		if o.ephemeral && o.dataDir != "" {
			errs = append(errs, fail.Usagef("", "give --data-dir or --ephemeral, not both"))
		}
	case stack.External:
		cfg.OutboxDB, cfg.InboxDB, cfg.AMQPURL = read(e.outboxURL()), read(e.inboxURL()), read(e.amqpURL())
		files, err := e.amqpTLS()
		errs = append(errs, err)
		cfg.Rotated = stack.Rotated{
			OutboxDB: e.rotated(e.flags.outboxDB, "PULSE_OUTBOX_DB"), InboxDB: e.rotated(e.flags.inboxDB, "PULSE_INBOX_DB"),
			AMQPURL: e.rotated(e.flags.amqpURL, "PULSE_AMQP_URL"), AMQPTLS: files.Get(),
		}
		cfg.BrokerStopCmd = read(e.setting(o.stopCmd, "PULSE_BROKER_STOP_CMD", nil))
		cfg.BrokerStartCmd = read(e.setting(o.startCmd, "PULSE_BROKER_START_CMD", nil))
		cfg.DBStopCmd = read(e.setting(o.dbStopCmd, "PULSE_DB_STOP_CMD", nil))
		cfg.DBStartCmd = read(e.setting(o.dbStartCmd, "PULSE_DB_START_CMD", nil))
	case stack.Compose:
	default:
		errs = append(errs, fail.Usagef("have: embedded, compose, external", "--stack: unknown stack %q", o.stack))
	}
	if cfg.Kind != stack.Embedded && (o.ephemeral || o.dataDir != "") {
		errs = append(errs, fail.Usagef("", "--data-dir and --ephemeral are for the embedded stack"))
	}
	if cfg.Kind != stack.Compose && (o.profile != "" || o.composeFile != "") {
		errs = append(errs, fail.Usagef("", "--profile and --compose-file are for the compose stack"))
	}
	return cfg, allUsage(errs)
}

// checkAddr reports an address that is none. Empty is the default; one without a
// host is of all interfaces.
func checkAddr(flag, addr string) error {
	if addr == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fail.Usagef("for example: --"+flag+" 127.0.0.1:0, which takes a free port", "--%s: %q is not HOST:PORT", flag, addr)
	}
	return nil
}

// allUsage makes one error of several, so that all are mended at once.
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

// announce says where everything is and what to type next.
func (e *Env) announce(s stack.State) {
	s = s.Redacted()
	if e.IO.Structured() {
		_ = console.RenderOne(e.IO, stateColumns, s)
		return
	}
	how, try, stop := fmt.Sprintf("process %d", s.PID), "try, in another terminal:", "stop with Ctrl-C or: pulsectl down"
	switch {
	case s.Stack == stack.Compose:
		how, try, stop = "profile "+s.Profiles, "try:", "stop the containers with: pulsectl down"
	case s.PID != os.Getpid(): // in the background
		try, stop = "try:", "stop with: pulsectl down"
	}
	lines := []string{
		"", fmt.Sprintf("%s (%s stack, %s)", e.IO.Paint(console.Good, "ready"), s.Stack, how),
		"  orders         " + s.OrdersURL, "  notifications  " + s.NotificationsURL,
		"  outbox         " + s.OutboxDB, "  inbox          " + s.InboxDB, "  broker         " + s.AMQPURL,
	}
	if s.RabbitMQUIURL != "" {
		lines = append(lines, "  RabbitMQ UI    "+s.RabbitMQUIURL+"  (user and password: see amqpUrl in "+stack.Path(e.stateDir)+")")
	}
	if s.Stack == stack.Embedded {
		lines = append(lines, "", e.IO.Paint(console.Warn, "NOT FOR PRODUCTION:")+" one process, SQLite files, a broker for development")
	}
	lines = append(lines, "", try,
		"  pulsectl order create --customer customer-123 --amount 77.5",
		"  pulsectl outbox ls", "  pulsectl chaos broker-down", "  pulsectl verify", stop, "")
	for _, line := range lines {
		e.IO.Println(line)
	}
}

var stateColumns = []console.Column[stack.State]{
	{Key: "stack", Value: func(s stack.State) any { return string(s.Stack) }},
	{Key: "pid", Value: func(s stack.State) any {
		if s.PID == 0 { // containers
			return nil
		}
		return s.PID
	}, ID: true},
	{Key: "startedAt", Value: func(s stack.State) any { return s.StartedAt }},
	{Key: "ordersUrl", Value: func(s stack.State) any { return s.OrdersURL }},
	{Key: "notificationsUrl", Value: func(s stack.State) any { return s.NotificationsURL }},
	{Key: "outboxDb", Value: func(s stack.State) any { return s.OutboxDB }},
	{Key: "inboxDb", Value: func(s stack.State) any { return s.InboxDB }},
	{Key: "amqpUrl", Value: func(s stack.State) any { return s.AMQPURL }},
	{Key: "dataDir", Value: func(s stack.State) any { return s.DataDir }},
	{Key: "logFile", Value: func(s stack.State) any { return s.LogFile }},
	{Key: "rabbitmqUiUrl", Value: func(s stack.State) any { return s.RabbitMQUIURL }},
	{Key: "project", Value: func(s stack.State) any { return s.Project }},
	{Key: "profiles", Value: func(s stack.State) any { return s.Profiles }},
	{Key: "composeFile", Value: func(s stack.State) any { return s.ComposeFile }},
}
