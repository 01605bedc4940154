package testenv

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/keeperclient"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// Server is a running server for one test, removed with its data when the test
// ends. It keeps its address and its data when it is stopped and started. Its
// methods fail the test themselves and are safe for concurrent use, but since
// they call t.Fatal they must be called in the test's goroutine.
type Server struct {
	t      testing.TB
	server *keeperclient.Server
}

// PostgresServer starts a PostgreSQL server for one test.
func PostgresServer(t testing.TB) *Server {
	t.Helper()
	return newServer(t, needPostgres, protocol.Postgres)
}

// RabbitMQServer starts a RabbitMQ server for one test, which takes some
// seconds; a test that does not stop its server should use RabbitMQ.
func RabbitMQServer(t testing.TB) *Server {
	t.Helper()
	return newServer(t, needRabbitMQ, protocol.RabbitMQ)
}

// RabbitMQCluster starts a RabbitMQ cluster of n nodes for one test, from the
// binaries on the machine. Each can be stopped and killed by itself.
func RabbitMQCluster(t testing.TB, n int) []*Server {
	t.Helper()
	nodes, err := join(t).MakeCluster(n)
	if err != nil {
		giveUp(t, needRabbitMQ, err)
	}
	var servers []*Server
	for _, node := range nodes { // the first is removed last
		servers = append(servers, own(t, node))
	}
	return servers
}

func newServer(t testing.TB, n need, kind protocol.Kind) *Server {
	t.Helper()
	server, err := join(t).Make(kind)
	if err != nil {
		giveUp(t, n, err)
	}
	return own(t, server)
}

// own lets a server end with the test.
func own(t testing.TB, server *keeperclient.Server) *Server {
	t.Helper()
	for _, note := range server.Notes {
		t.Logf("testenv: %s", note)
	}
	t.Cleanup(func() {
		if err := server.Remove(); err != nil {
			t.Errorf("testenv: %v", err)
		}
	})
	return &Server{t: t, server: server}
}

// URL returns the server's address with the credentials of an administrator:
// postgres://…/postgres, or amqp://…/ with the default virtual host.
func (s *Server) URL() string { return s.server.URL }

// Stop shuts the server down gracefully. It returns when the server has ended.
func (s *Server) Stop() { s.t.Helper(); s.check(s.server.Stop(protocol.Graceful)) }

// StopImmediate is PostgreSQL's immediate shutdown: no checkpoint, recovery
// at the next start. RabbitMQ has none, and the test fails.
func (s *Server) StopImmediate() { s.t.Helper(); s.check(s.server.Stop(protocol.Immediate)) }

// Kill kills every process of the server with SIGKILL.
func (s *Server) Kill() { s.t.Helper(); s.check(s.server.Stop(protocol.Kill)) }

// Start starts the server again and returns once it answers.
func (s *Server) Start() { s.t.Helper(); s.check(s.server.Start()) }

// HangQueue suspends the process of a queue in the default virtual host of
// RabbitMQ until resume is called. To publishers this looks like a queue that
// has lost its majority.
func (s *Server) HangQueue(queue string) (resume func()) {
	s.t.Helper()
	do := func(what string) {
		s.t.Helper()
		s.eval(lookup+`ok = sys:%s(amqqueue:get_pid(Q)).`, queue, what)
	}
	do("suspend")
	return func() { s.t.Helper(); do("resume") }
}

// LeaderOf returns which of the nodes of this node's cluster has the leader of a
// quorum queue in the default virtual host.
func (s *Server) LeaderOf(queue string, nodes []*Server) (index int) {
	s.t.Helper()
	name := s.eval(lookup+`{_, Node} = amqqueue:get_pid(Q), Node.`, queue)
	index = slices.IndexFunc(nodes, func(node *Server) bool {
		u, err := url.Parse(node.URL())
		s.check(err)
		return strings.Trim(name, "'") == "pulse"+u.Port()+"@localhost"
	})
	if index < 0 {
		s.t.Fatalf("testenv: the leader of %s is on %s, which is no node of these", queue, name)
	}
	return index
}

// lookup begins an expression about a queue, Q.
const lookup = `{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"%s">>)), `

func (s *Server) eval(format string, args ...any) string {
	s.t.Helper()
	text, err := s.server.Eval(fmt.Sprintf(format, args...))
	s.check(err)
	return text
}

// SetDiskFreeLimit sets below how many free bytes RabbitMQ blocks publishers.
func (s *Server) SetDiskFreeLimit(bytes int64) {
	s.t.Helper()
	s.eval(`ok = rabbit_disk_monitor:set_disk_free_limit(%d).`, bytes)
}

// RabbitMQDirectory returns the directory of RabbitMQ's data.
func (s *Server) RabbitMQDirectory() string {
	s.t.Helper()
	dir, err := strconv.Unquote(s.eval(`rabbit_mnesia:dir().`)) // Erlang's strings look like Go's
	s.check(err)
	return dir
}

// StopCommand returns a shell command that does what Stop does, for a program
// under test. It works until the test's process ends.
func (s *Server) StopCommand() string {
	return s.server.StopCommand(protocol.Graceful)
}

// StartCommand returns a shell command that does what Start does.
func (s *Server) StartCommand() string {
	return s.server.StartCommand()
}

func (s *Server) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("testenv: %v", err)
	}
}
