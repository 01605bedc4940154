package roles

import (
	"fmt"
	"regexp"
	"strings"
)

// Permission is what a user may do in a virtual host of RabbitMQ.
type Permission struct {
	// Role is relay, consumer, operator or readonly. A producer needs no broker.
	Role string
	// Configure, Write and Read are regular expressions for the names of exchanges
	// and queues, as RabbitMQ takes them.
	Configure, Write, Read string
}

// nothing matches no name.
const nothing = "^$"

// Permissions returns the least that each part needs for an exchange and the queue
// of a consumer, which an administrator has made: Topology is Verify or None. The
// default exchange leads to retry and dead-letter queues.
func Permissions(exchange, queue string) []Permission {
	exchange, queue = regexp.QuoteMeta(exchange), regexp.QuoteMeta(queue)
	return []Permission{
		{"relay", nothing, "^" + exchange + "$", nothing},
		{"consumer", nothing, `^amq\.default$`, "^" + queue + "$"},
		{"operator", nothing, `^(amq\.default|` + exchange + ")$", "^" + queue + `(\.dlq|\.retry\..+)?$`},
		{"readonly", nothing, nothing, nothing},
	}
}

// RabbitMQ returns the commands that give the users, named as the roles, these
// permissions.
func RabbitMQ(n Names, exchange, queue string) string {
	var b strings.Builder
	b.WriteString("-- RabbitMQ, as its administrator. pulsectl broker topology --definitions prints exchange and queues, for\n-- rabbitmqctl import_definitions; services then run with the topology verify. A producer needs no broker.\n")
	for _, p := range Permissions(exchange, queue) {
		fmt.Fprintf(&b, "--   rabbitmqctl set_permissions -p / %s_%s '%s' '%s' '%s'\n", n.Prefix, p.Role, p.Configure, p.Write, p.Read)
	}
	return b.String()
}
