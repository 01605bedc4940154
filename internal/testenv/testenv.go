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
// data some seconds after the last test. They are kept by a program that the
// first test builds and starts, the nested module server. A server that a test
// may stop (PostgresServer, RabbitMQServer) never comes from a URL.
//
// Where a service cannot be had the test is skipped and says what is missing,
// unless PULSE_TEST_REQUIRE (postgres, rabbitmq, pgbouncer, docker, modules,
// tools, separated by commas) lists it: then the test fails. With docker on the
// list, servers come from Docker or not at all; PgBouncer is always the
// machine's, and so are the tools, programs on the PATH such as other shells.
package testenv

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/keeper"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// Where given services are found.
const (
	PostgresVariable   = "PULSE_TEST_POSTGRES_URL"
	AMQPVariable       = "PULSE_TEST_AMQP_URL"
	ManagementVariable = "PULSE_TEST_RABBITMQ_MANAGEMENT_URL"
)

// setupLimit bounds what is done to a running server for one test.
const setupLimit = 30 * time.Second

// UniqueName returns prefix, a dot and a random suffix: a name for a queue or
// an exchange that nothing else has.
func UniqueName(t testing.TB, prefix string) string {
	t.Helper()
	return prefix + "." + suffix()
}

// suffix is random enough never to repeat, in lower-case letters and digits.
func suffix() string { return strings.ToLower(rand.Text()[:12]) }

// join returns this process's share in the keeper of servers.
func join(t testing.TB) *keeper.Client {
	t.Helper()
	client, err := keeper.Join()
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return client
}

// shared returns the server of this kind that the whole run shares.
func shared(t testing.TB, n need, kind protocol.Kind) protocol.Endpoints {
	t.Helper()
	endpoints, err := join(t).Share(kind)
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
