// Command sources prints where the tests will find their services, and fails if
// one is missing that PULSE_TEST_REQUIRE lists.
package main

import (
	"fmt"
	"os"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

func main() {
	lines, ok := testenv.Sources()
	for _, line := range lines {
		fmt.Fprintln(os.Stderr, line)
	}
	if !ok {
		fmt.Fprintln(os.Stderr, `
Any of these provides the services:
  - make install-services   (Debian and Ubuntu, as root)
  - a running Docker daemon
  - PULSE_TEST_POSTGRES_URL and PULSE_TEST_AMQP_URL of running servers
To skip the tests that need them: make test PULSE_TEST_REQUIRE=`)
		os.Exit(1)
	}
}
