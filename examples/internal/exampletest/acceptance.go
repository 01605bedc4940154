package exampletest

import (
	"context"
	"testing"

	"github.com/asimalizada/pulse-events/examples/acceptance"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// Acceptance runs the acceptance suite on each platform, outages included.
func (k Stack) Acceptance(t *testing.T) {
	t.Run(Bare.Name, func(t *testing.T) {
		broker := devbroker.NewTest(t)
		own := Bare
		own.Broker = func(testing.TB) string { return broker.URL() }
		target := k.start(t, own).target()
		target.StopBroker = func(context.Context) error { return broker.Inject(devbroker.Fault{Kind: devbroker.FaultDown}) }
		target.StartBroker = func(context.Context) error { return broker.Clear(devbroker.FaultDown) }
		acceptance.Run(t, target)
	})
	t.Run(Servers.Name, func(t *testing.T) {
		broker := testenv.RabbitMQServer(t)
		own := Servers
		own.Broker = func(testing.TB) string { return broker.URL() }
		target := k.start(t, own).target()
		target.StopBroker = func(context.Context) error { broker.Stop(); return nil }
		target.StartBroker = func(context.Context) error { broker.Start(); return nil }
		acceptance.Run(t, target)
	})
}
