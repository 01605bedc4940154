// Package roles has the least rights that producer, relay, consumer, operator and
// reader need in PostgreSQL and RabbitMQ. It is what pulsectl migrate print --roles
// prints, for programs that set up their servers themselves; docs/security.md says
// what each role is for.
//
// It imports neither library: it serves both.
package roles

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

//go:embed outbox.sql
var outboxSQL string

//go:embed inbox.sql
var inboxSQL string

// name is what needs no quotes in SQL.
var name = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,40}$`)

// Names are what the statements are about. Both are required, and made of
// lower-case letters, digits and underscores, 41 characters at most.
type Names struct {
	// Prefix of the roles, which belong to the whole server, such as shop for
	// shop_relay.
	Prefix string
	// Schema with the tables, such as public.
	Schema string
}

// Check returns what is wrong with the names, or nil.
func (n Names) Check() error {
	for _, text := range []string{n.Prefix, n.Schema} {
		if !name.MatchString(text) {
			return fmt.Errorf("%q is not a name of lower-case letters, digits and underscores", text)
		}
	}
	return nil
}

// Outbox returns the statements for the outbox's database: they make the group
// roles PREFIX_producer, PREFIX_relay, PREFIX_operator and PREFIX_readonly where
// they are missing, and grant their rights. The tables have to be there, and whoever
// runs them owns the tables and may create roles. They can be run again. The error
// is that of Check.
func Outbox(n Names) (string, error) { return n.in(outboxSQL) }

// Inbox is Outbox for the inbox's database, with the roles PREFIX_consumer,
// PREFIX_operator and PREFIX_readonly.
func Inbox(n Names) (string, error) { return n.in(inboxSQL) }

func (n Names) in(statements string) (string, error) {
	if err := n.Check(); err != nil {
		return "", err
	}
	return strings.NewReplacer("PREFIX_", n.Prefix+"_", "SCHEMA_NAME", n.Schema).Replace(statements), nil
}
