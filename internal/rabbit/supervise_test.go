package rabbit

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestSuperviseStartsDownAndComesBack(t *testing.T) {
	proxy := rabbittest.NewProxy(t, testenv.RabbitMQ(t))
	proxy.Cut()
	failed, sessions := make(chan error, 100), make(chan *Conn, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		cfg := Config{URL: proxy.URL(), Logger: quiet(), MinBackoff: time.Millisecond, OnFailure: func(err error) { failed <- err }}
		Supervise(ctx, cfg, func(ctx context.Context, conn *Conn) error {
			sessions <- conn
			select {
			case err := <-conn.Lost():
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	}()
	if err := <-failed; !strings.Contains(err.Error(), "connect to amqp://") {
		t.Errorf("broker down: %v", err)
	}
	proxy.Restore()
	first := <-sessions
	proxy.Cut()
	for err := range failed {
		if errors.Is(err, ErrLost) {
			break
		}
	}
	if !first.IsClosed() {
		t.Error("the lost connection is open")
	}
	proxy.Restore()
	second := <-sessions
	cancel()
	<-done
	if !second.IsClosed() {
		t.Error("a connection outlives Supervise")
	}
}

// Waits between attempts double up to the limit, jittered down to a half. A
// dead address fails at once, so that the clock of the bubble sees the waits
// alone.
func TestSuperviseBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const attempts = 12
		var at []time.Time
		ctx, cancel := context.WithCancel(t.Context())
		cfg := Config{
			URL: "amqp://\x7f.invalid", Logger: quiet(), MinBackoff: 100 * time.Millisecond, MaxBackoff: 5 * time.Second,
			OnFailure: func(error) {
				if at = append(at, time.Now()); len(at) == attempts {
					cancel()
				}
			},
		}
		Supervise(ctx, cfg, func(context.Context, *Conn) error { panic("connected to nothing") })
		limit := 100 * time.Millisecond
		for i := 1; i < len(at); i++ {
			if wait := at[i].Sub(at[i-1]); wait < limit/2 || wait > limit {
				t.Errorf("wait %d: %v, want between %v and %v", i, wait, limit/2, limit)
			}
			limit = min(2*limit, 5*time.Second)
		}
	})
}

// A peer that accepts and hangs up is tried on and on, and leaves nothing.
func TestSuperviseHangingUpPeer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan struct{}, 1000)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- struct{}{}
			_ = conn.Close()
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var failures atomic.Int32
	go func() {
		defer close(done)
		cfg := Config{URL: "amqp://" + listener.Addr().String(), Logger: quiet(), MinBackoff: time.Millisecond,
			MaxBackoff: time.Millisecond, OnFailure: func(error) { failures.Add(1) }}
		Supervise(ctx, cfg, func(context.Context, *Conn) error { return nil })
	}()
	for range 5 {
		<-accepted
	}
	cancel()
	<-done
	_ = listener.Close()
	<-stopped
	if failures.Load() < 4 {
		t.Errorf("%d failures were told of 5", failures.Load())
	}
}
