package inbox_test

import (
	"context"
	"log"
	"os"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
)

// Tenants share a database, each with a schema that exists already. An event
// is applied once for each of them.
func ExampleWithSchema() {
	db := sqlx.MustConnect("pgx", os.Getenv("PULSE_INBOX_DB"))
	inboxes := make(map[string]*inbox.Inbox)
	for _, tenant := range []string{"acme", "globex"} {
		in, err := inbox.New(db, "notifications", inbox.WithSchema(tenant))
		if err != nil {
			log.Fatal(err)
		}
		if _, err := in.Migrate(context.Background()); err != nil {
			log.Fatal(err)
		}
		inboxes[tenant] = in
	}
}
