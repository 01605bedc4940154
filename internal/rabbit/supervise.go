package rabbit

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/backoff"
	"github.com/asimalizada/pulse-events/internal/health"
)

// Supervise connects, runs session on the connection, closes it, waits, and
// connects again, until ctx ends; it starts with the broker down and never
// gives up. Of several brokers each attempt begins with the next. A session returns when its connection is of no more use (see
// Conn.Lost) or ctx has ended; one that outlived MaxBackoff lets the next
// attempt begin with MinBackoff. Nothing of a connection is left running when
// Supervise returns. cfg must be valid.
func Supervise(ctx context.Context, cfg Config, session func(ctx context.Context, conn *Conn) error) {
	cfg = cfg.withDefaults()
	brokers := &dialer{cfg: cfg}
	watch := newWatch(ctx, cfg)
	defer watch.end()
	waits, failures := backoff.Exponential{First: cfg.MinBackoff, Longest: cfg.MaxBackoff, Growth: 1}, 0
	for ctx.Err() == nil {
		err := attempt(ctx, brokers, func(conn *Conn) error {
			began := time.Now()
			watch.connected(ctx, conn)
			defer watch.lost()
			defer func() {
				if time.Since(began) > cfg.MaxBackoff {
					failures = 0
				}
			}()
			return session(ctx, conn)
		})
		if ctx.Err() != nil {
			return
		}
		report(ctx, cfg, err)
		failures++
		wait := time.NewTimer(waits.After(failures))
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
}

func attempt(ctx context.Context, brokers *dialer, session func(*Conn) error) error {
	conn, err := brokers.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	shown := RedactURL(conn.address)
	conn.cfg.Logger.InfoContext(ctx, "connected to the broker", "connection", conn.cfg.Name, "url", shown)
	if err := session(conn); err != nil {
		return redact(fmt.Errorf("connection to %s: %w", shown, err), conn.address)
	}
	return fmt.Errorf("connection to %s: session ended", shown)
}

// report tells of a failure where somebody has to act more loudly than of one
// that time cures.
func report(ctx context.Context, cfg Config, err error) {
	if errors.Is(err, ErrAccess) || errors.Is(err, ErrTopology) {
		cfg.Logger.ErrorContext(ctx, "broker refuses us; trying on", "connection", cfg.Name, "error", err)
	} else {
		cfg.Logger.WarnContext(ctx, "broker is not available; trying on", "connection", cfg.Name, "error", err)
	}
	if cfg.OnFailure != nil {
		cfg.OnFailure(err)
	}
}

// ErrLost is the bare reason where the broker gave none.
var ErrLost error = health.Public("connection lost")

// Lost returns a channel that yields the reason once the connection is gone.
// Ask once per listener, at the session's start.
func (c *Conn) Lost() <-chan error {
	closed := c.NotifyClose(make(chan *amqp.Error, 1))
	lost := make(chan error, 1)
	if !c.start(func() { lost <- closeReason(<-closed) }) {
		lost <- ErrLost
	}
	return lost
}

func closeReason(err *amqp.Error) error {
	if err == nil {
		return ErrLost
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}
