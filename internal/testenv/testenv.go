// Package testenv gives tests real services: a PostgreSQL database and a
// RabbitMQ virtual host of their own, or a whole server they may stop and
// kill.
//
// Servers come from the first of these sources that can give one:
//
//   - PULSE_TEST_POSTGRES_URL and PULSE_TEST_AMQP_URL, the latter best with
//     PULSE_TEST_RABBITMQ_MANAGEMENT_URL (http://user:password@host:15672/),
//     without which tests share its virtual host;
//   - Docker, where a daemon answers: images postgres:17 and
//     rabbitmq:4-management, or those that PULSE_TEST_POSTGRES_IMAGE and
//     PULSE_TEST_RABBITMQ_IMAGE name;
//   - the binaries on this machine (on Debian: apt-get install postgresql
//     rabbitmq-server), as the users postgres and rabbitmq where the tests run
//     as root.
//
// One server of each kind serves all packages of a run, and is gone with its
// data some seconds after the last test. A server that a test may stop
// (PostgresServer, RabbitMQServer) never comes from a URL.
//
// Where a service cannot be had the test is skipped and says what is missing,
// unless PULSE_TEST_REQUIRE (postgres, rabbitmq, docker, separated by commas)
// lists it: then the test fails. With docker on the list, servers come from
// Docker or not at all.
//
// Every package that uses testenv calls Main from its TestMain:
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
package testenv

import (
	"context"
	"crypto/rand"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/keeper"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/service"
)

// Where given services are found.
const (
	PostgresVariable   = "PULSE_TEST_POSTGRES_URL"
	AMQPVariable       = "PULSE_TEST_AMQP_URL"
	ManagementVariable = "PULSE_TEST_RABBITMQ_MANAGEMENT_URL"
)

// setupLimit bounds what is done to a running server for one test.
const setupLimit = 30 * time.Second

// Main runs a package's tests and ends the process.
func Main(m *testing.M) {
	Init()
	os.Exit(m.Run())
}

// Init is for a TestMain that hands m to another runner than Main: it calls
// Init before anything else. The servers are kept by the test's own program,
// started once more; that second process ends within Init.
func Init() { keeper.RunIfAsked() }

// UniqueName returns prefix, a dot and a random suffix: a name for a queue or
// an exchange that nothing else has.
func UniqueName(t testing.TB, prefix string) string {
	t.Helper()
	return prefix + "." + suffix()
}

// suffix is random enough never to repeat, in lower-case letters and digits.
func suffix() string { return strings.ToLower(rand.Text()[:12]) }

// shared returns the server of this kind that the whole run shares.
func shared(t testing.TB, n need, kind service.Kind) service.Endpoints {
	t.Helper()
	client, err := keeper.Join()
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	endpoints, err := client.Share(kind)
	if err != nil {
		giveUp(t, n, err)
	}
	for _, note := range endpoints.Notes {
		t.Logf("testenv: %s", note)
	}
	return endpoints
}

// cleanupContext bounds work in a t.Cleanup, when t.Context has ended.
func cleanupContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), setupLimit)
}
