package inbox_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
)

func ExampleInbox_Once_sqlite() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "inbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	db, err := sqlite.Open(filepath.Join(dir, "notifications.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	in, err := inbox.New(db, "notifications")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := in.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
	msg := inbox.Message{ID: "event-1", Topic: "order.created", Payload: []byte(`{"orderId":"o-1"}`)}
	for range 2 {
		outcome, err := in.Once(ctx, msg, func(ctx context.Context, tx inbox.Tx) error { return nil })
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(outcome)
	}
	// Output:
	// processed
	// duplicate
}
