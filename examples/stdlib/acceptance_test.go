package stdlib_test

import (
	"context"
	"testing"

	"github.com/asimalizada/pulse-events/examples/acceptance"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

func TestAcceptance(t *testing.T) {
	t.Run(bare.name, func(t *testing.T) {
		broker := devbroker.NewTest(t)
		own := bare
		own.broker = func(testing.TB) string { return broker.URL() }
		target := startStack(t, own).target()
		target.StopBroker = func(context.Context) error { return broker.Inject(devbroker.Fault{Kind: devbroker.FaultDown}) }
		target.StartBroker = func(context.Context) error { return broker.Clear(devbroker.FaultDown) }
		acceptance.Run(t, target)
	})
	t.Run(servers.name, func(t *testing.T) {
		broker := testenv.RabbitMQServer(t)
		own := servers
		own.broker = func(testing.TB) string { return broker.URL() }
		target := startStack(t, own).target()
		target.StopBroker = func(context.Context) error { broker.Stop(); return nil }
		target.StartBroker = func(context.Context) error { broker.Start(); return nil }
		acceptance.Run(t, target)
	})
}

func (s *stack) target() acceptance.Target {
	return acceptance.Target{OrdersURL: s.orders, NotificationsURL: s.notifications, AMQPURL: s.amqpURL, Exchange: s.exchange, Patience: patience}
}
