package chaos

import (
	"context"
	"errors"
	"strings"

	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// servers returns the servers of a target that is not embedded.
func servers(ctx context.Context, e *env.Env, target string) (*chaos.Servers, error) {
	switch {
	case target == "external":
		return external(e)
	case target == "compose":
		return composed(ctx, e)
	case strings.Contains(target, "://"):
		return given(e, target)
	}
	return nil, fail.Usagef("use embedded, external, compose, or URLs", "--target: %q is none of these", target)
}

// kindOf returns a target without URLs, which may hold passwords.
func kindOf(target string) string {
	if strings.Contains(target, "://") {
		return "URLs"
	}
	return target
}

// external returns the servers of flags and environment.
func external(e *env.Env) (s *chaos.Servers, err error) {
	e.IgnoreRunning()
	if s, err = commands(e); err != nil {
		return nil, err
	}
	var err1, err2, err3 error
	s.OrdersDB, err1 = e.OutboxURL()
	s.EffectsDB, err2 = e.InboxURL()
	s.Broker, err3 = e.AMQPURL()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	return s, nil
}

// commands returns what flags and environment say of servers beside their URLs.
func commands(e *env.Env) (*chaos.Servers, error) {
	management, err := e.Setting(e.Flags.ManagementURL, "PULSE_MANAGEMENT_URL", func(stack.State) string { return "" })
	return &chaos.Servers{
		Management: management,
		BrokerStop: e.Getenv("PULSE_BROKER_STOP_CMD"), BrokerKill: e.Getenv("PULSE_BROKER_KILL_CMD"), BrokerStart: e.Getenv("PULSE_BROKER_START_CMD"),
		BrokerBlock: e.Getenv("PULSE_BROKER_BLOCK_CMD"), BrokerUnblock: e.Getenv("PULSE_BROKER_UNBLOCK_CMD"),
		DatabaseStop: e.Getenv("PULSE_DB_STOP_CMD"), DatabaseKill: e.Getenv("PULSE_DB_KILL_CMD"), DatabaseStart: e.Getenv("PULSE_DB_START_CMD"),
	}, err
}

// given returns the servers whose URLs are the target.
func given(e *env.Env, target string) (*chaos.Servers, error) {
	e.IgnoreRunning()
	urls, err := chaos.ParseServers(target)
	if err != nil {
		return nil, fail.Usagef("for example: --target postgres://user:password@db:5432/orders,amqp://user:password@broker:5672/", "--target: %v", err)
	}
	s, err := commands(e)
	if err != nil {
		return nil, err
	}
	s.OrdersDB, s.EffectsDB, s.Broker = urls.OrdersDB, urls.EffectsDB, urls.Broker
	return s, nil
}

// composed returns the servers of the running compose stack, which are stopped and
// started by docker.
func composed(ctx context.Context, e *env.Env) (*chaos.Servers, error) {
	s, err := e.Running()
	if err != nil || s.Stack != stack.Compose {
		return nil, fail.Usagef("start one: pulsectl up --stack compose", "--target compose: no compose stack is running")
	}
	database, broker, err := s.ServerContainers(ctx)
	if err != nil {
		return nil, err
	}
	docker := func(words ...string) string { return strings.Join(append([]string{"docker"}, words...), " ") }
	const limit = "set_vm_memory_high_watermark"
	return &chaos.Servers{
		OrdersDB: s.OutboxDB, EffectsDB: s.InboxDB, Broker: s.AMQPURL, Management: s.RabbitMQUIURL,
		BrokerStop: docker("stop", broker.Name), BrokerKill: docker("kill", broker.Name), BrokerStart: docker("start", broker.Name),
		BrokerBlock:   docker("exec", broker.Name, "rabbitmqctl", limit, "0.000001"),
		BrokerUnblock: docker("exec", broker.Name, "rabbitmqctl", limit, "0.4"),
		DatabaseStop:  docker("stop", database.Name), DatabaseKill: docker("kill", database.Name), DatabaseStart: docker("start", database.Name),
	}, nil
}
