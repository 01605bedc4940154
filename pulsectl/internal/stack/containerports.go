package stack

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strings"

	"github.com/asimalizada/pulse-events/pulsectl/internal/compose"
	"github.com/asimalizada/pulse-events/pulsectl/internal/platform"
)

// publishedPort is a port of a service, and the variable of the compose file
// that sets it on this machine.
type publishedPort struct{ service, port, variable, fallback string }

var publishedPorts = []publishedPort{
	{databaseService, "5432", "PULSE_POSTGRES_PORT", "5433"},
	{brokerService, "5672", "PULSE_AMQP_PORT", "5673"},
	{brokerService, "15672", "PULSE_RABBITMQ_UI_PORT", "15673"},
	{"orders-stdlib", "6101", "PULSE_ORDERS_STDLIB_PORT", "6101"},
	{"notifications-stdlib", "6102", "PULSE_NOTIFICATIONS_STDLIB_PORT", "6102"},
	{"orders-gin", "6201", "PULSE_ORDERS_GIN_PORT", "6201"},
	{"notifications-gin", "6202", "PULSE_NOTIFICATIONS_GIN_PORT", "6202"},
	{"orders-stdlib", "6111", "PULSE_ORDERS_STDLIB_METRICS_PORT", "6111"},
	{"notifications-stdlib", "6112", "PULSE_NOTIFICATIONS_STDLIB_METRICS_PORT", "6112"},
	{"orders-gin", "6211", "PULSE_ORDERS_GIN_METRICS_PORT", "6211"},
	{"notifications-gin", "6212", "PULSE_NOTIFICATIONS_GIN_METRICS_PORT", "6212"},
	{"prometheus", "9090", "PULSE_PROMETHEUS_PORT", "9090"},
	{"grafana", "3000", "PULSE_GRAFANA_PORT", "3000"},
	{"jaeger", "16686", "PULSE_JAEGER_PORT", "16686"},
}

// observers are the services of the profile observe.
var observers = []string{"prometheus", "grafana", "jaeger"}

// portOf returns the port that a service listens on, or, if metrics is set, serves
// its metrics on.
func portOf(service string, metrics bool) string {
	for _, p := range publishedPorts {
		if p.service == service && strings.HasSuffix(p.variable, "_METRICS_PORT") == metrics {
			return p.port
		}
	}
	return ""
}

// checkPorts checks for ports in use before anything is built. A running
// container uses its ports itself.
func checkPorts(ctx context.Context, cfg containersConfig) error {
	containers, err := compose.Containers(ctx, cfg.project.Name)
	if err != nil {
		return err
	}
	for _, p := range publishedPorts {
		runs := slices.ContainsFunc(containers, func(c compose.Container) bool { return c.Service == p.service && c.Status == "running" })
		if runs || !wanted(p.service, cfg.project.Profiles) {
			continue
		}
		addr := net.JoinHostPort("127.0.0.1", cfg.number(p))
		ln, err := net.Listen("tcp", addr)
		if err == nil {
			err = ln.Close()
		}
		if platform.AddressInUse(err) {
			return cfg.portTaken(&compose.PortError{Addr: addr, Err: err})
		}
	}
	return nil
}

// number returns a port's number on this machine.
func (cfg containersConfig) number(p publishedPort) string {
	return cmp.Or(cfg.settings.Get(p.variable), p.fallback)
}

// portTaken says which port is in use, by what, and how to set another.
func (cfg containersConfig) portTaken(e *compose.PortError) error {
	taken := &PortTakenError{Part: "container", Addr: e.Addr, Holder: holder(e.Addr), Err: e}
	_, number, _ := net.SplitHostPort(e.Addr)
	for _, p := range publishedPorts {
		if cfg.number(p) == number && wanted(p.service, cfg.project.Profiles) {
			taken.Part, taken.Variable = p.service, p.variable
		}
	}
	return taken
}

// wanted reports whether one of the profiles has the service.
func wanted(service, profiles string) bool {
	if service == databaseService || service == brokerService {
		return true
	}
	for profile := range strings.SplitSeq(profiles, ",") {
		profile = strings.TrimSpace(profile)
		if strings.HasSuffix(service, "-"+profile) || profile == "observe" && slices.Contains(observers, service) {
			return true
		}
	}
	return false
}
