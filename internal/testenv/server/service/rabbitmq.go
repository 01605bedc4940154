package service

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
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
	program, err := findRabbitMQ()
	if err != nil {
		return nil, err
	}
	ports, err := host.FreePorts(4)
	if err != nil {
		return nil, err
	}
	return program.node(rabbitNode{dir: dir, kind: kind, port: ports[0], distPort: ports[1], epmdPort: ports[2], managementPort: ports[3], ownEpmd: true})
}

// rabbitNode describes a node to run.
type rabbitNode struct {
	dir                                      string
	kind                                     protocol.Kind
	port, distPort, epmdPort, managementPort int
	ownEpmd                                  bool // it starts the port mapper, which its cluster shares
	cluster                                  []int
	cookie                                   string // of the cluster
}

func rabbitNodeName(port int) string { return "pulse" + strconv.Itoa(port) + "@localhost" }

// node makes a node that is not started yet.
func (r *rabbitProgram) node(n rabbitNode) (*Instance, error) {
	user := r.user
	if err := user.makeDir(n.dir); err != nil {
		return nil, err
	}
	config, plugins := filepath.Join(n.dir, "rabbitmq.conf"), filepath.Join(n.dir, "enabled_plugins")
	settings := []string{
		"listeners.tcp.1 = 127.0.0.1:" + strconv.Itoa(n.port),
		"disk_free_limit.absolute = 50MB",
	}
	enabled := "[]."
	if n.kind == protocol.ManagedRabbitMQ {
		settings = append(settings, "management.tcp.ip = 127.0.0.1", "management.tcp.port = "+strconv.Itoa(n.managementPort))
		enabled = "[rabbitmq_management]."
	} else {
		n.managementPort = 0
	}
	if len(n.cluster) > 0 {
		settings = append(settings, "cluster_formation.peer_discovery_backend = classic_config")
		for i, port := range n.cluster {
			settings = append(settings, fmt.Sprintf("cluster_formation.classic_config.nodes.%d = %s", i+1, rabbitNodeName(port)))
		}
		if err := user.writeFile(filepath.Join(n.dir, ".erlang.cookie"), n.cookie); err != nil {
			return nil, err
		}
	}
	if err := user.writeFile(config, strings.Join(settings, "\n")+"\n"); err != nil {
		return nil, err
	}
	if err := user.writeFile(plugins, enabled+"\n"); err != nil {
		return nil, err
	}
	// Erlang's port mapper outlives the servers that start it and is shared by
	// all servers of a machine: here each server, or each cluster, has its own, on
	// another port.
	epmd := []string{"ERL_EPMD_ADDRESS=127.0.0.1", "ERL_EPMD_PORT=" + strconv.Itoa(n.epmdPort)}
	env := append([]string{
		"RABBITMQ_NODENAME=" + rabbitNodeName(n.port),
		"RABBITMQ_DIST_PORT=" + strconv.Itoa(n.distPort),
		"RABBITMQ_MNESIA_BASE=" + filepath.Join(n.dir, "mnesia"),
		"RABBITMQ_LOG_BASE=" + filepath.Join(n.dir, "log"),
		"RABBITMQ_LOGS=-",
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + plugins,
		"RABBITMQ_CONFIG_FILE=" + config,
		"RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_PID_FILE=" + filepath.Join(n.dir, "pid"),
	}, epmd...)
	m := &processes{
		dir:      n.dir,
		command:  func() *exec.Cmd { return user.command(n.dir, env, r.server) },
		tool:     func(command []string) *exec.Cmd { return user.command(n.dir, env, command[0], command[1:]...) },
		graceful: syscall.SIGTERM,
	}
	// If this program is not found, Erlang starts its own.
	if r.epmd != "" && n.ownEpmd {
		if err := m.startBeside(user.command(n.dir, nil, r.epmd, "-address", "127.0.0.1", "-port", strconv.Itoa(n.epmdPort))); err != nil {
			return nil, fmt.Errorf("start epmd: %w", err)
		}
	}
	i := &Instance{machine: m, Endpoints: rabbitEndpoints("127.0.0.1", n.port, n.managementPort)}
	i.control = []string{filepath.Join(filepath.Dir(r.server), "rabbitmqctl")}
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

// rabbitProgram is an installed RabbitMQ. Its paths are those in the user's file
// system.
type rabbitProgram struct {
	server string // rabbitmq-server
	epmd   string // Erlang's port mapper; "" if it was not found
	user   *account
}

// findRabbitMQ returns the RabbitMQ of this machine, or the one that
// RabbitMQRootVariable names.
func findRabbitMQ() (*rabbitProgram, error) {
	root := os.Getenv(protocol.RabbitMQRootVariable)
	user, err := accountFor("rabbitmq")
	switch {
	case err != nil: // RabbitMQ runs as root as well
		user = &account{}
	case root != "" && user == nil:
		return nil, fmt.Errorf("only root can run the RabbitMQ that %s names", protocol.RabbitMQRootVariable)
	}
	server, err := findRabbitMQServer(root)
	if err != nil {
		return nil, err
	}
	r := &rabbitProgram{server: server, user: user}
	if root != "" {
		user.root = root
		if path := "/usr/bin/epmd"; executable(filepath.Join(root, path)) {
			r.epmd = path
		}
	} else if path, err := exec.LookPath("epmd"); err == nil {
		r.epmd = path
	}
	return r, nil
}

// findRabbitMQServer returns the path of rabbitmq-server below root. Debian's
// wrapper in PATH insists on the system's own directories, so the script that it
// calls is preferred.
func findRabbitMQServer(root string) (string, error) {
	for _, pattern := range []string{"/usr/lib/rabbitmq/bin/rabbitmq-server", "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server", "/opt/rabbitmq/sbin/rabbitmq-server"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return "", err
		}
		slices.SortFunc(found, byVersion)
		for _, path := range slices.Backward(found) {
			if executable(path) {
				return strings.TrimPrefix(path, root), nil
			}
		}
	}
	if root != "" {
		return "", fmt.Errorf("no rabbitmq-server below %s, which %s names", root, protocol.RabbitMQRootVariable)
	}
	if path, err := exec.LookPath("rabbitmq-server"); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("RabbitMQ %w: no rabbitmq-server in /usr/lib/rabbitmq or PATH (on Debian: apt-get install rabbitmq-server)", protocol.ErrUnavailable)
}
