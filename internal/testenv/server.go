package testenv

import (
	"fmt"
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

func newServer(t testing.TB, n need, kind protocol.Kind) *Server {
	t.Helper()
	server, err := join(t).Make(kind)
	if err != nil {
		giveUp(t, n, err)
	}
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
		s.check(s.server.Eval(fmt.Sprintf(`{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"%s">>)), `+
			`ok = sys:%s(amqqueue:get_pid(Q)).`, queue, what)))
	}
	do("suspend")
	return func() { s.t.Helper(); do("resume") }
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
