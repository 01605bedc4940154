package postgres_test

import (
	"context"
	"log"
	"os"
	"strings"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/postgres"
)

// The URL, with its password, is in a file that a secrets manager rewrites.
func ExampleOpen() {
	read := func(context.Context) (string, error) {
		url, err := os.ReadFile("/run/secrets/database-url")
		return strings.TrimSpace(string(url)), err
	}
	url, err := read(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	db, err := postgres.Open(postgres.Config{URL: url, GetURL: read, Name: "orders"})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	ob, err := outbox.New(db)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := ob.Migrate(context.Background()); err != nil {
		log.Print(err)
	}
}
