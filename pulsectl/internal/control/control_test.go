package control_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
)

func serve(t *testing.T) (*devbroker.Broker, control.Client) {
	t.Helper()
	return servePoison(t, new(control.Poison))
}

func servePoison(t *testing.T, poison *control.Poison) (*devbroker.Broker, control.Client) {
	t.Helper()
	broker := devbroker.NewTest(t)
	s, err := control.Listen(broker, poison)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return broker, control.Client{URL: s.URL(), Token: s.Token()}
}

func TestClientInjectAndClear(t *testing.T) {
	broker, c := serve(t)
	ctx := t.Context()
	slow := control.Fault{Kind: devbroker.FaultDelayConfirms, Delay: 50 * time.Millisecond, Count: 3}
	if err := c.Inject(ctx, slow); err != nil {
		t.Fatal(err)
	}
	if err := c.Inject(ctx, control.Fault{Kind: devbroker.FaultBlockPublishers}); err != nil {
		t.Fatal(err)
	}
	faults, err := c.Faults(ctx)
	if err != nil || len(faults) != 2 || faults[0].Delay != slow.Delay || faults[0].Count != 3 || faults[0].Since.IsZero() {
		t.Fatalf("Faults: %+v, %v", faults, err)
	}
	if err := c.Clear(ctx, devbroker.FaultBlockPublishers); err != nil {
		t.Fatal(err)
	}
	if left := broker.Faults(); len(left) != 1 || left[0].Kind != devbroker.FaultDelayConfirms {
		t.Fatalf("left after clearing one: %+v", left)
	}
	if err := c.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Clear(ctx, ""); err != nil || len(broker.Faults()) != 0 {
		t.Fatalf("left after clearing all: %+v, %v", broker.Faults(), err)
	}
}

func TestClientErrors(t *testing.T) {
	broker, c := serve(t)
	err := c.Inject(t.Context(), control.Fault{Kind: "flood"})
	if err == nil || !strings.Contains(err.Error(), `"flood"`) {
		t.Errorf("unknown fault: %v", err)
	}
	stranger := control.Client{URL: c.URL, Token: "guess"}
	if err := stranger.Inject(t.Context(), control.Fault{Kind: devbroker.FaultDown}); err == nil {
		t.Error("a wrong token was believed")
	}
	if _, err := (control.Client{URL: c.URL}).Faults(t.Context()); err == nil {
		t.Error("no token was believed")
	}
	if f := broker.Faults(); len(f) != 0 {
		t.Errorf("refused calls left %+v", f)
	}
}

func TestClientPoison(t *testing.T) {
	poison := new(control.Poison)
	broker, c := servePoison(t, poison)
	handled := 0
	handler := poison.Handler(func(context.Context, inbox.Tx, inbox.Message) error { handled++; return nil })
	call := func() error { return handler(t.Context(), nil, inbox.Message{}) }
	ctx := t.Context()
	for range 2 { // the second changes nothing
		if err := c.Inject(ctx, control.Fault{Kind: control.FaultPoisonHandler}); err != nil {
			t.Fatal(err)
		}
	}
	var refused *inbox.DeadLetterError
	if err := call(); !errors.As(err, &refused) || handled != 0 {
		t.Errorf("the handler answered %v and was called %d times", err, handled)
	}
	if err := c.Inject(ctx, control.Fault{Kind: devbroker.FaultBlockPublishers}); err != nil {
		t.Fatal(err)
	}
	faults, err := c.Faults(ctx)
	if err != nil || len(faults) != 2 || faults[0].Kind != control.FaultPoisonHandler || faults[0].Since.IsZero() {
		t.Fatalf("Faults: %+v, %v", faults, err)
	}
	if err := c.Clear(ctx, control.FaultPoisonHandler); err != nil {
		t.Fatal(err)
	}
	if err := call(); err != nil || handled != 1 || len(broker.Faults()) != 1 {
		t.Errorf("cleared, the handler answered %v and was called %d times; the broker has %+v", err, handled, broker.Faults())
	}
	if err := errors.Join(c.Inject(ctx, control.Fault{Kind: control.FaultPoisonHandler}), c.Clear(ctx, devbroker.FaultBlockPublishers)); err != nil {
		t.Fatal(err)
	}
	if err := call(); err == nil {
		t.Error("clearing a fault of the broker cleared that of the handler")
	}
	if err := c.Clear(ctx, ""); err != nil {
		t.Fatal(err)
	}
	if err := call(); err != nil {
		t.Errorf("all cleared, the handler answered %v", err)
	}
}
