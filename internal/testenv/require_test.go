package testenv

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

func TestVerdict(t *testing.T) {
	missing := fmt.Errorf("PostgreSQL %w: apt-get install postgresql", protocol.ErrUnavailable)
	broken := errors.New("server ended while starting")
	for _, c := range []struct {
		name     string
		required string
		need     need
		err      error
		fatal    bool
		says     string
	}{
		{"missing", "", needPostgres, missing, false, "apt-get install postgresql"},
		{"missing, another required", "rabbitmq", needPostgres, missing, false, "needs postgres"},
		{"missing and required", "postgres", needPostgres, missing, true, "apt-get install postgresql"},
		{"required in a list with blanks", "rabbitmq, postgres ,", needPostgres, missing, true, "required by PULSE_TEST_REQUIRE"},
		{"no management API", "", needRabbitMQ, errNoManagement, false, "PULSE_TEST_RABBITMQ_MANAGEMENT_URL is not set"},
		{"no management API and required", "postgres,rabbitmq", needRabbitMQ, errNoManagement, true, "PULSE_TEST_RABBITMQ_MANAGEMENT_URL is not set"},
		{"broken is never a skip", "", needPostgres, broken, true, "ended while starting"},
		{"no Docker daemon", "", needDocker, broken, false, "needs docker"},
		{"no Docker daemon and required", "docker", needDocker, broken, true, "required"},
		{"a word nobody knows", "postgres,rabbit", needPostgres, missing, true, `"rabbit"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			message, fatal := skipOrFail(c.required, c.need, c.err)
			if fatal != c.fatal || !strings.Contains(message, c.says) {
				t.Errorf("fatal %v, %q; want %v and %q", fatal, message, c.fatal, c.says)
			}
		})
	}
}
