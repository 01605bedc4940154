package service

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/host"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

const rabbitUser, rabbitPassword = "guest", "guest"

// dialLimit limits one attempt to reach a server that may not be up yet.
const dialLimit = 2 * time.Second

func newLocalRabbitMQ(dir string, kind protocol.Kind) (*Instance, error) {
	server, err := findRabbitMQ()
	if err != nil {
		return nil, err
	}
	user, err := accountFor("rabbitmq")
	if err != nil {
		user = nil // RabbitMQ runs as root as well
	}
	ports, err := host.FreePorts(4)
	if err != nil {
		return nil, err
	}
	amqpPort, managementPort, distPort, epmdPort := ports[0], ports[1], ports[2], ports[3]
	if err := user.makeDir(dir); err != nil {
		return nil, err
	}
	config, plugins := filepath.Join(dir, "rabbitmq.conf"), filepath.Join(dir, "enabled_plugins")
	settings := []string{
		"listeners.tcp.1 = 127.0.0.1:" + strconv.Itoa(amqpPort),
		"disk_free_limit.absolute = 50MB",
	}
	enabled := "[]."
	if kind == protocol.ManagedRabbitMQ {
		settings = append(settings, "management.tcp.ip = 127.0.0.1", "management.tcp.port = "+strconv.Itoa(managementPort))
		enabled = "[rabbitmq_management]."
	} else {
		managementPort = 0
	}
	if err := user.writeFile(config, strings.Join(settings, "\n")+"\n"); err != nil {
		return nil, err
	}
	if err := user.writeFile(plugins, enabled+"\n"); err != nil {
		return nil, err
	}
	// Erlang's port mapper outlives the servers that start it and is shared by
	// all servers of a machine: here each server has its own, on another port.
	epmd := []string{"ERL_EPMD_ADDRESS=127.0.0.1", "ERL_EPMD_PORT=" + strconv.Itoa(epmdPort)}
	env := append([]string{
		"RABBITMQ_NODENAME=pulse" + strconv.Itoa(amqpPort) + "@localhost",
		"RABBITMQ_DIST_PORT=" + strconv.Itoa(distPort),
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(dir, "mnesia"),
		"RABBITMQ_LOG_BASE=" + filepath.Join(dir, "log"),
		"RABBITMQ_LOGS=-",
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + plugins,
		"RABBITMQ_CONFIG_FILE=" + config,
		"RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_PID_FILE=" + filepath.Join(dir, "pid"),
	}, epmd...)
	m := &processes{
		dir:      dir,
		command:  func() *exec.Cmd { return user.command(dir, env, server) },
		tool:     func(command []string) *exec.Cmd { return user.command(dir, env, command[0], command[1:]...) },
		graceful: syscall.SIGTERM,
	}
	// If this program is not found, Erlang starts its own.
	if path, err := exec.LookPath("epmd"); err == nil {
		if err := m.startBeside(user.command(dir, nil, path, "-address", "127.0.0.1", "-port", strconv.Itoa(epmdPort))); err != nil {
			return nil, fmt.Errorf("start epmd: %w", err)
		}
	}
	i := &Instance{machine: m, Endpoints: rabbitEndpoints("127.0.0.1", amqpPort, managementPort)}
	i.control = []string{filepath.Join(filepath.Dir(server), "rabbitmqctl")}
	i.ready = i.rabbitReady
	return i, nil
}

// rabbitEndpoints returns the endpoints; without a management port, only AMQP.
func rabbitEndpoints(host string, amqpPort, managementPort int) protocol.Endpoints {
	address := func(scheme string, port int) string {
		return (&url.URL{
			Scheme: scheme,
			User:   url.UserPassword(rabbitUser, rabbitPassword),
			Host:   net.JoinHostPort(host, strconv.Itoa(port)),
			Path:   "/",
		}).String()
	}
	endpoints := protocol.Endpoints{URL: address("amqp", amqpPort)}
	if managementPort != 0 {
		endpoints.ManagementURL = address("http", managementPort)
	}
	return endpoints
}

// rabbitReady checks AMQP and, if there is one, the management API: they become
// ready at different times.
func (i *Instance) rabbitReady(ctx context.Context) error {
	conn, err := amqp.DialConfig(i.URL, amqp.Config{Dial: amqp.DefaultDial(dialLimit)})
	if err != nil {
		return err
	}
	if err := conn.Close(); err != nil || i.ManagementURL == "" {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.ManagementURL+"api/whoami", nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: dialLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("management API answers %s", res.Status)
	}
	return nil
}

// findRabbitMQ returns the path of rabbitmq-server. Debian's wrapper in PATH
// insists on the system's own directories, so the script that it calls is
// preferred.
func findRabbitMQ() (string, error) {
	for _, pattern := range []string{"/usr/lib/rabbitmq/bin/rabbitmq-server", "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server", "/opt/rabbitmq/sbin/rabbitmq-server"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		slices.SortFunc(found, byVersion)
		for _, path := range slices.Backward(found) {
			if executable(path) {
				return path, nil
			}
		}
	}
	if path, err := exec.LookPath("rabbitmq-server"); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("RabbitMQ %w: no rabbitmq-server in /usr/lib/rabbitmq or PATH (on Debian: apt-get install rabbitmq-server)", protocol.ErrUnavailable)
}
