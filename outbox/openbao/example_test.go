package openbao_test

import (
	"context"
	"log"

	"github.com/asimalizada/pulse-events/outbox/openbao"
	"github.com/asimalizada/pulse-events/outbox/postgres"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// A pod gets its users for database and broker from OpenBao, at the address that
// BAO_ADDR names.
func Example() {
	bao, err := openbao.New(openbao.Config{Login: openbao.Kubernetes{Role: "orders"}})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	renewing := make(chan struct{})
	go func() {
		defer close(renewing)
		_ = bao.Run(ctx)
	}()
	defer func() { cancel(); <-renewing }()

	const address = "postgres://db:5432/orders"
	db, err := postgres.Open(postgres.Config{URL: address, GetURL: bao.Database("database", "orders").URL(address), Name: "orders"})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	publisher, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{URL: "amqp://broker:5672/", Credentials: bao.RabbitMQ("rabbitmq", "orders").Credentials})
	if err != nil {
		log.Fatal(err)
	}
	defer publisher.Close()
}
