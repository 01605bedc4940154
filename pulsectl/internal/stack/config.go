package stack

import (
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/asimalizada/pulse-events/examples/auth"
	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/examples/telemetry"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Config configures a stack.
type Config struct {
	// Addresses of the services. Empty: 127.0.0.1:6101 and 127.0.0.1:6102.
	OrdersAddr, NotificationsAddr string
	// External: the servers.
	Services
	// Embedded: the directory of its files (Ephemeral: a temporary one), and
	// the address of its broker.
	DataDir, BrokerAddr string
	Ephemeral           bool
	// Compose: file and profile; empty: from environment and .env. Timeout
	// limits the wait until all containers are healthy, once their images
	// exist; 0: five minutes.
	ComposeFile, Profile string
	Timeout              time.Duration
	Getenv               func(string) string
	// In this process: ask callers for a token, which Up makes; serve HTTPS, with a
	// certificate that Up makes; and limit requests, as in PULSE_RATE_LIMIT and
	// PULSE_RATE_LIMIT_PER_CALLER, which are used where these are empty.
	Auth, TLS                  bool
	RateLimit, CallerRateLimit string
	// In this process: what is exported and served of traces and metrics. Zero:
	// nothing.
	telemetry telemetry.Config
	served    stdlib.Settings // HTTPS and Limits of both services
	auth      *auth.Verifier  // of both services; nil: nobody is asked
	apiToken  string          // that auth takes for pulsectl
	poison    *control.Poison // of the notifications' handler in this process

	UIURL   string // of the web page, recorded in the state
	Dir     string // of the state file
	LogFile string // recorded in the state, if there is one
	Logger  *slog.Logger
	Console *console.IO
	// Waiting is called with the service that is waited for. Nil: not called.
	Waiting func(service string)
}

// Check returns the problems of the services' addresses.
func (cfg *Config) Check() []error {
	return []error{checkAddr("orders-addr", cfg.OrdersAddr), checkAddr("notifications-addr", cfg.NotificationsAddr)}
}

// CheckForeign returns an error for each setting that only a stack of a known
// kind takes.
func (cfg *Config) CheckForeign() []error { return []error{cfg.onlyEmbedded(), cfg.onlyCompose()} }

func (cfg *Config) onlyEmbedded() error {
	if cfg.Ephemeral || cfg.DataDir != "" {
		return fail.Usagef("", "--data-dir and --ephemeral are for the embedded stack")
	}
	return nil
}

func (cfg *Config) onlyCompose() error {
	if cfg.Profile != "" || cfg.ComposeFile != "" {
		return fail.Usagef("", "--profile and --compose-file are for the compose stack")
	}
	return nil
}

// onlyInProcess returns an error for settings of services in this process.
func (cfg *Config) onlyInProcess() error {
	if cfg.Auth || cfg.TLS || cfg.RateLimit != "" || cfg.CallerRateLimit != "" {
		return fail.Usagef("set PULSE_RATE_LIMIT and PULSE_RATE_LIMIT_PER_CALLER; its services ask for a token in any case",
			"--auth, --tls, --rate-limit and --rate-limit-per-caller are for the stacks embedded and external")
	}
	return nil
}

// checkAddr reports an invalid address. Empty is the default; without a host it
// means all interfaces.
func checkAddr(flag, addr string) error {
	if addr == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fail.Usagef("for example: --"+flag+" 127.0.0.1:0, which picks a free port", "--%s: %q is not HOST:PORT", flag, addr)
	}
	return nil
}
