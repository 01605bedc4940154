// Package roles has the least rights that producer, relay, consumer, operator and
// reader need in PostgreSQL and RabbitMQ.
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

// Names are what the statements are about.
type Names struct {
	// Prefix of the roles, which belong to the whole server, such as shop for
	// shop_relay.
	Prefix string
	// Schema with the tables, such as public.
	Schema string
}

// Check returns what is wrong with the names.
func (n Names) Check() error {
	for _, text := range []string{n.Prefix, n.Schema} {
		if !name.MatchString(text) {
			return fmt.Errorf("%q is not a name of lower-case letters, digits and underscores", text)
		}
	}
	return nil
}

// Outbox returns the statements for the outbox's database.
func Outbox(n Names) string { return n.in(outboxSQL) }

// Inbox returns the statements for the inbox's database.
func Inbox(n Names) string { return n.in(inboxSQL) }

func (n Names) in(statements string) string {
	return strings.NewReplacer("PREFIX_", n.Prefix+"_", "SCHEMA_NAME", n.Schema).Replace(statements)
}
