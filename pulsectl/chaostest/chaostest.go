// Package chaostest puts your own services under fire in a test: load, an outage, a
// lost confirm, a cut connection, a service that is stopped and started again, all
// drawn from a seed. Then everything is healed, and an independent checker says
// whether an event was lost, applied twice, invented, or published out of order.
//
//	func TestShopUnderFire(t *testing.T) {
//		chaostest.Run(t, chaostest.Config{
//			Outbox:   ob,
//			Services: map[string]chaostest.Service{"shop": runShop, "mailer": runMailer},
//			Queue:    "order.created",
//			Place:    placeOrder,
//			Effects:  countMails,
//		})
//	}
//
// The broker is a development broker (package devbroker), and each service reaches it
// through a proxy of its own. The database is yours: any that the libraries support.
// Services run in the test's process, so that they can be debugged, and a fault that
// stops one ends its context; "pulsectl chaos run" has kill -9 and SIGSTOP.
//
// A failure names the seed: PULSE_CHAOS_SEED=42 go test -run TestShopUnderFire
// injects the same faults again.
package chaostest

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
)

// SeedVariable is the environment variable with the seed of a run.
const SeedVariable = "PULSE_CHAOS_SEED"

// Service runs one of your services, with the broker at amqpURL, until ctx ends; then
// it returns nil. It is called again after each stop. Returning earlier, or an error,
// fails the test.
type Service func(ctx context.Context, amqpURL string) error

// Config describes what is under fire.
type Config struct {
	// Services are started at the beginning, by name. At least one publishes what is
	// in the outbox, and one consumes Queue. Required.
	Services map[string]Service
	// Outbox is where the events are that Place enqueues. Its relays must keep
	// published rows until the test ends, which is the default. Required.
	Outbox *outbox.Outbox
	// Topic of the events that are applied. Events of other topics are to be
	// published, and no more. Empty: all are applied.
	Topic string
	// Exchange that the services publish to. Defaults to "pulse.events".
	Exchange string
	// Queue that is consumed, and that must be empty in the end. Required.
	Queue string
	// Place does one piece of business that enqueues an event, and returns its id once
	// it is committed. An error leaves open whether it is. It is called concurrently,
	// Rate times a second; n counts the calls. Required.
	Place func(ctx context.Context, n int) (event string, err error)
	// Effects returns how many effects each event has, by its id: two notifications
	// of one event are two. Required.
	Effects func(ctx context.Context) (map[string]int, error)

	// Seed draws the faults. Defaults to PULSE_CHAOS_SEED, else to a new one.
	Seed uint64
	// Duration of load and faults. Defaults to 10 s.
	Duration time.Duration
	// Rate is how many times a second Place is called, at most 1000. Defaults to 50.
	Rate int
	// Settle is how long all may take to be handled, once the faults have ended.
	// Defaults to 1 min: relays wait for the leases of those that were stopped, and
	// consumers for retries.
	Settle time.Duration
}

const (
	defaultExchange = "pulse.events"
	defaultDuration = 10 * time.Second
	defaultRate     = 50
	mostRate        = 1000
	defaultSettle   = time.Minute
)

// complete fills in defaults, and returns all problems.
func (c *Config) complete() error {
	var problems []error
	require := func(ok bool, problem string) {
		if !ok {
			problems = append(problems, errors.New("chaostest: "+problem))
		}
	}
	require(len(c.Services) > 0, "Services: there are none")
	require(c.Outbox != nil, "Outbox: it is required")
	require(c.Queue != "", "Queue: it is required")
	require(c.Place != nil, "Place: it is required")
	require(c.Effects != nil, "Effects: it is required")
	require(c.Duration >= 0 && c.Settle >= 0, "Duration and Settle must not be negative")
	require(c.Rate >= 0 && c.Rate <= mostRate, "Rate: it must be between 1 and 1000")
	if c.Exchange == "" {
		c.Exchange = defaultExchange
	}
	if c.Duration == 0 {
		c.Duration = defaultDuration
	}
	if c.Rate == 0 {
		c.Rate = defaultRate
	}
	if c.Settle == 0 {
		c.Settle = defaultSettle
	}
	if text := os.Getenv(SeedVariable); c.Seed == 0 && text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		require(err == nil, SeedVariable+": "+strconv.Quote(text)+" is no number")
		c.Seed = seed
	}
	if c.Seed == 0 {
		c.Seed = uint64(time.Now().UnixMilli())%1_000_000 + 1
	}
	return errors.Join(problems...)
}

// Run runs the services under load and faults, waits until all is handled, and fails
// the test unless every event that was committed has been published, in the order of
// its key, and has exactly one effect or is a dead letter.
func Run(t testing.TB, c Config) {
	t.Helper()
	if err := c.complete(); err != nil {
		t.Fatal(err)
	}
	r, err := start(t, c)
	if err != nil {
		t.Fatalf("chaostest, seed %d: %v", c.Seed, err)
	}
	if err := r.attack(t); err != nil {
		t.Fatalf("chaostest, seed %d: %v\n%s", c.Seed, err, r.again())
	}
	r.judge(t)
}
