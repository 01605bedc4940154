package outbox

import (
	"context"
	"io"
	"log/slog"
	"testing"
)

// newRelay returns a relay that polls fast and is quiet, unless cfg says otherwise.
func newRelay(t testing.TB, ob *Outbox, p Publisher, cfg RelayConfig) *Relay {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	relay, err := NewRelay(ob, p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return relay
}

// start runs relay until stop is called, or the test ends.
func start(t testing.TB, relay *Relay) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- relay.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}
