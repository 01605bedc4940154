package testenv

import (
	"context"
	"os"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/service"
)

// Sources says, a line for each service, where tests will take it from or
// what is missing. ok is false when one is missing that RequireVariable lists.
func Sources(ctx context.Context) (lines []string, ok bool) {
	ok = true
	for _, s := range []struct {
		need     need
		kind     service.Kind
		variable string
	}{
		{needPostgres, service.Postgres, PostgresVariable},
		{needRabbitMQ, service.ManagedRabbitMQ, AMQPVariable},
	} {
		if os.Getenv(s.variable) != "" {
			lines = append(lines, string(s.need)+": the server "+s.variable+" names")
			continue
		}
		from, err := service.Find(ctx, s.kind)
		if err == nil {
			lines = append(lines, string(s.need)+": "+from)
			continue
		}
		message, fatal := verdict(os.Getenv(RequireVariable), s.need, err)
		lines = append(lines, message)
		ok = ok && !fatal
	}
	return lines, ok
}
