package acceptance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/examples/internal/settings"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTarget holds the services that the environment names to the contract.
func TestTarget(t *testing.T) {
	const prefix = "PULSE_ACCEPTANCE_"
	env := settings.NewReader(os.LookupEnv)
	amqpURL, _ := env.Secret(prefix + "AMQP_URL")
	target := Target{
		OrdersURL:        env.String(prefix+"ORDERS_URL", ""),
		NotificationsURL: env.String(prefix+"NOTIFICATIONS_URL", ""),
		AMQPURL:          amqpURL,
		Patience:         time.Minute,
	}
	if token, _ := env.Secret(prefix + "TOKEN"); token != "" {
		target.Tokens = []Tokens{{All: token}}
	}
	if target.OrdersURL == "" && target.NotificationsURL == "" {
		t.Skipf("no services to try: %sORDERS_URL and %sNOTIFICATIONS_URL are not set; the tests of the stacks run the suite on their own", prefix, prefix)
	}
	if err := env.Err(); err != nil {
		t.Fatal(err)
	}
	stop, start := env.String(prefix+"BROKER_STOP_CMD", ""), env.String(prefix+"BROKER_START_CMD", "")
	if stop != "" && start != "" {
		target.StopBroker, target.StartBroker = shell(stop), shell(start)
	}
	Run(t, target)
}

// shell returns a function that runs a command.
func shell(command string) func(context.Context) error {
	return func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
		cmd.WaitDelay = time.Second // a server left behind may hold on to the output
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", command, err, strings.TrimSpace(string(out)))
		}
		return nil
	}
}
