// Package testenv gives tests real services: a PostgreSQL database and a
// RabbitMQ virtual host for one test, or a whole server that a test can stop and
// kill.
//
// Servers come from the first of these sources that is available:
//
//   - PULSE_TEST_POSTGRES_URL and PULSE_TEST_AMQP_URL, the latter preferably
//     with PULSE_TEST_RABBITMQ_MANAGEMENT_URL
//     (http://user:password@host:15672/), without which tests share its virtual
//     host;
//   - binaries that PULSE_TEST_POSTGRES_BIN, a directory with initdb and
//     postgres, or PULSE_TEST_RABBITMQ_ROOT names: the root directory of a system
//     with RabbitMQ, in which this one's /tmp is visible under the same name;
//   - Docker, if a daemon answers: images postgres:17 and
//     rabbitmq:4-management, or those set by PULSE_TEST_POSTGRES_IMAGE and
//     PULSE_TEST_RABBITMQ_IMAGE;
//   - the binaries on this machine (on Debian: apt-get install postgresql
//     rabbitmq-server), as the users postgres and rabbitmq if the tests run as
//     root.
//
// One server of each kind serves all packages of a run, and is removed with its
// data some seconds after the last test. The servers belong to a program that
// the first test builds and starts, the nested module server. A server that a
// test can stop (PostgresServer, RabbitMQServer) never comes from a URL.
//
// If a service is missing, or RabbitMQ's management API where a test needs it, the
// test is skipped and says what is missing, unless
// PULSE_TEST_REQUIRE (postgres, rabbitmq, pgbouncer, prometheus, docker,
// modules, tools, chromium, separated by commas) lists it: then the test fails. With
// docker in the list, servers come from Docker only; PgBouncer, Prometheus and
// the tools, programs on the PATH such as other shells, always come from the
// machine.
package testenv

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/keeperclient"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// Variables with the URLs of given services.
const (
	PostgresVariable   = "PULSE_TEST_POSTGRES_URL"
	AMQPVariable       = "PULSE_TEST_AMQP_URL"
	ManagementVariable = "PULSE_TEST_RABBITMQ_MANAGEMENT_URL"
)

// setupLimit limits the preparation of a running server for one test.
const setupLimit = 30 * time.Second

// UniqueName returns prefix, a dot and a random suffix: a unique name for a
// queue or an exchange.
func UniqueName(t testing.TB, prefix string) string {
	t.Helper()
	return prefix + "." + suffix()
}

// suffix returns a random, unique text of lower-case letters and digits.
func suffix() string { return strings.ToLower(rand.Text()[:12]) }

// join connects this process to the keeper of servers.
func join(t testing.TB) *keeperclient.Client {
	t.Helper()
	client, err := keeperclient.Join()
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

// cleanupContext limits work in a t.Cleanup, when t.Context has ended.
func cleanupContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), setupLimit)
}
