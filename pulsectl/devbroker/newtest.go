package devbroker

import (
	"context"
	"errors"
)

// TB is the part of testing.TB that [NewTest] needs; *testing.T, *testing.B and
// *testing.F implement it.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// NewTest starts a broker for a test, on a free port and in memory unless
// configure changes that, and closes it when the test ends. It fails the test
// if the broker cannot be started.
func NewTest(t TB, configure ...func(*Config)) *Broker {
	t.Helper()
	cfg := Config{Addr: "127.0.0.1:0"}
	for _, change := range configure {
		change(&cfg)
	}
	b, err := Start(context.Background(), cfg)
	if err != nil {
		t.Fatalf("starting the broker: %v", err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Fatalf("closing the broker: %v", err)
		}
	})
	return b
}
