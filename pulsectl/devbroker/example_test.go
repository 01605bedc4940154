package devbroker_test

import (
	"context"
	"fmt"
	"log"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

func Example() {
	ctx := context.Background()
	broker, err := devbroker.Start(ctx, devbroker.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer broker.Close()

	conn, err := amqp.Dial(broker.URL())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := ch.QueueDeclare("greetings", true, false, false, false, nil); err != nil {
		log.Fatal(err)
	}
	if err := ch.PublishWithContext(ctx, "", "greetings", true, false, amqp.Publishing{Body: []byte("hello")}); err != nil {
		log.Fatal(err)
	}
	deliveries, err := ch.Consume("greetings", "", true, false, false, false, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", (<-deliveries).Body)
	// Output: hello
}

func ExampleBroker_Inject() {
	broker, err := devbroker.Start(context.Background(), devbroker.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer broker.Close()

	for _, fault := range []devbroker.Fault{
		{Kind: devbroker.FaultDropConfirms, Count: 10},
		{Kind: devbroker.FaultDelayDeliveries, Delay: 2 * time.Second},
	} {
		if err := broker.Inject(fault); err != nil {
			log.Fatal(err)
		}
	}
	for _, fault := range broker.Faults() {
		fmt.Println(fault.Kind)
	}
	if err := broker.Clear(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(broker.Faults()), "left")
	// Output:
	// drop-confirms
	// delay-deliveries
	// 0 left
}
