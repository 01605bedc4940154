package testenv

import (
	"os"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/keeperclient"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// Sources returns a line for each service, with its source or what is missing.
// ok is false if a service is missing that RequireVariable lists.
func Sources() (lines []string, ok bool) {
	client, err := keeperclient.Join()
	if err != nil {
		return []string{err.Error()}, false
	}
	ok = true
	for _, s := range []struct {
		need     need
		kind     protocol.Kind
		variable string
	}{
		{needPostgres, protocol.Postgres, PostgresVariable},
		{needRabbitMQ, protocol.ManagedRabbitMQ, AMQPVariable},
	} {
		if os.Getenv(s.variable) != "" {
			lines = append(lines, string(s.need)+": the server "+s.variable+" names")
			continue
		}
		from, err := client.Find(s.kind)
		if err == nil {
			lines = append(lines, string(s.need)+": "+from)
			continue
		}
		message, fatal := skipOrFail(os.Getenv(RequireVariable), s.need, err)
		lines = append(lines, message)
		ok = ok && !fatal
	}
	return lines, ok
}
