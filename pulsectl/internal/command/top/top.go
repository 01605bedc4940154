// Package top implements the command top, which shows what moves: rates,
// backlog, relays, consumers and queues.
//
// Package live looks; what it sees goes into a board. On a terminal a Bubble Tea
// program draws it, and elsewhere a line is written at an interval.
package top

import (
	"context"
	"errors"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/live"
)

// Command returns the command top.
func Command(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "top", Usage: "show live what moves: rates, backlog, lag, relays, consumers, queues",
		Description: "On a terminal: q quits, p pauses, / filters relays and consumers, arrows scroll. In a pipe a line is written " +
			"each second, with -o json one object a line. A database or broker that is away is shown as down, and followed again when it is back.",
		Flags: []cli.Flag{env.IntervalFlag()},
		Action: func(ctx *cli.Context) error {
			interval, err := env.Interval(ctx)
			if err != nil {
				return err
			}
			return run(ctx.Context, e, interval)
		},
	}
}

func run(ctx context.Context, e *env.Env, interval time.Duration) error {
	if err := e.AnyGiven(); err != nil {
		return err
	}
	if e.IO.Resolved() == console.Name {
		return fail.Usagef("for example: -o json", "--output: there are no ids to print")
	}
	if e.IO.Redraws() {
		return runScreen(ctx, e, interval)
	}
	return runLines(ctx, e, interval)
}

// collect calls live.Follow, and merges its results with ticks into one goroutine:
// this one. It returns when ctx ends, or with the first error of observe or tick.
func collect(ctx context.Context, e *env.Env, interval time.Duration, observe func(live.Sight) error, tick func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	sights, ended := make(chan live.Sight), make(chan struct{})
	go func() {
		defer close(ended)
		cfg := live.Config{Interval: interval, Now: e.IO.Now, Open: func() (live.Servers, func() error) {
			again := e.Again(e.IO.Silent())
			return again.Access(), again.Close
		}}
		live.Follow(ctx, cfg, func(s live.Sight) {
			select {
			case sights <- s:
			case <-ctx.Done():
			}
		})
	}()
	defer func() {
		cancel()
		<-ended
	}()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		var err error
		select {
		case s := <-sights:
			err = observe(s)
		case <-ticker.C:
			err = tick()
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// raised returns the panic of a goroutine of live.Follow.
func raised(s live.Sight) error {
	if p, ok := errors.AsType[live.Panicked](s.Err); ok {
		return p
	}
	return nil
}
