// Package check implements the command check: small questions for monitoring
// systems and probes, each answered in under a second by one line with
// performance data and one of four exit codes, as the Monitoring Plugins
// Development Guidelines describe.
package check

import (
	"context"
	"errors"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

const (
	// defaultTimeout leaves some of a second for the start of the process.
	defaultTimeout = 900 * time.Millisecond
	// grace is how long a check may take to say why, once its time is up, and to
	// close its connections.
	grace = 50 * time.Millisecond
)

// options are the flags of a check.
type options struct {
	warn, crit float64
	low        bool // low values are bad
	timeout    time.Duration
	probe      bool
	minimum    int
	exchange   string
}

func (o options) limits() limits { return limits{&o.warn, &o.crit, o.low} }

// probe asks servers and puts what it finds into the result. An error is about
// the server that was asked last.
type probe func(ctx context.Context, e *env.Env, o options, r *result) error

const usage = "answer in under a second for a monitoring system or probe: one line with performance data; exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN"

// Command returns the command check.
func Command(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "check", Usage: usage,
		Subcommands: []*cli.Command{
			leaf(e, "lag", "how long the oldest message that is due has been waiting in the outbox", lag,
				ages("waits for more than", time.Minute, 5*time.Minute)...),
			leaf(e, "dead", "dead messages in the outbox, and dead letters of the consumer's queue", dead,
				counts("there are more than `N`", 0, 100)...),
			leaf(e, "relay", "relays that can publish, and buckets that none of them serves", relay,
				counts("there are fewer than `N` relays", 1, 1)...),
			leaf(e, "inbox", "messages that wait for the consumer, and its running instances", inboxProbe,
				append(counts("more than `N` messages wait in its queue, or are held by it", 1000, 10_000),
					&cli.IntFlag{Name: "instances", Value: 1, Usage: "CRITICAL if fewer than `N` instances run and are subscribed"})...),
			leaf(e, "broker", "whether the broker answers, takes messages, and has the exchange", broker,
				append(ages("takes longer than", 500*time.Millisecond, defaultTimeout),
					&cli.StringFlag{Name: "exchange", Usage: "`NAME` of the exchange (default: pulse.events)"})...),
			leaf(e, "schema", "whether the tables of outbox and inbox are those of this version", schema),
		},
	}
}

func ages(what string, warn, crit time.Duration) []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "warn", Aliases: []string{"w"}, Value: warn, Usage: "WARNING if it " + what + " `DURATION`"},
		&cli.DurationFlag{Name: "crit", Aliases: []string{"c"}, Value: crit, Usage: "CRITICAL if it " + what + " `DURATION`"},
	}
}

func counts(what string, warn, crit int) []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "warn", Aliases: []string{"w"}, Value: warn, Usage: "WARNING if " + what},
		&cli.IntFlag{Name: "crit", Aliases: []string{"c"}, Value: crit, Usage: "CRITICAL if " + what},
	}
}

func leaf(e *env.Env, name, usage string, p probe, flags ...cli.Flag) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage,
		Flags: append(flags,
			&cli.DurationFlag{Name: "timeout", Value: defaultTimeout, Usage: "CRITICAL if there is no answer after `DURATION`"},
			&cli.BoolFlag{Name: "probe", Usage: "exit 0 on WARNING too: for a Kubernetes probe, for which every other code is a failure"}),
		Action: func(ctx *cli.Context) error {
			o, err := parse(ctx, name == "relay")
			if err != nil {
				return err
			}
			return o.run(ctx.Context, e, name, p)
		},
	}
}

func parse(ctx *cli.Context, low bool) (options, error) {
	o := options{low: low, timeout: ctx.Duration("timeout"), probe: ctx.Bool("probe"), minimum: ctx.Int("instances"), exchange: ctx.String("exchange")}
	o.warn, o.crit = threshold(ctx, "warn"), threshold(ctx, "crit")
	switch {
	case o.timeout <= 0:
		return o, fail.Usagef("", "--timeout: %s is not positive", o.timeout)
	case o.warn < 0 || o.crit < 0 || o.minimum < 0:
		return o, fail.Usagef("", "a threshold is negative")
	case !low && o.warn > o.crit:
		return o, fail.Usagef("", "--warn is above --crit: it would never be only WARNING")
	case low && o.warn < o.crit:
		return o, fail.Usagef("", "--warn is below --crit: it would never be only WARNING")
	}
	return o, nil
}

// threshold returns the value of a flag as it is compared: seconds, or a number.
func threshold(ctx *cli.Context, name string) float64 {
	if d, isDuration := ctx.Value(name).(time.Duration); isDuration {
		return d.Seconds()
	}
	return float64(ctx.Int(name))
}

// run makes the check. It returns in time whatever the servers do: one that
// hangs is left to the end of the process.
func (o options) run(parent context.Context, e *env.Env, name string, p probe) error {
	ctx, cancel := context.WithTimeout(parent, o.timeout)
	defer cancel()
	own := e.Again(e.IO) // closed by whoever uses it
	answer, closed := make(chan *result, 1), make(chan struct{})
	go func() {
		defer close(closed)
		r := &result{check: name}
		if err := p(ctx, own, o, r); err != nil {
			r.away(o.late(ctx, err))
		}
		answer <- r
		_ = own.Close() // the answer is there
	}()
	var r *result
	select {
	case r = <-answer:
	case <-ctx.Done():
		select { // it may know better what it waited for
		case r = <-answer:
		case <-time.After(grace):
			r = &result{check: name, state: critical, reasons: []string{"no answer within " + clip.Duration(o.timeout)}}
		}
	}
	if err := parent.Err(); err != nil {
		return err
	}
	err := r.print(e.IO)
	cancel()
	select {
	case <-closed:
	case <-time.After(grace):
	}
	if o.probe && r.state == warning {
		return nil
	}
	return err
}

// late says that time was up, instead of what that broke off.
func (o options) late(ctx context.Context, err error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	return fail.New(fail.Timeout, "", "no answer within %s: %s", clip.Duration(o.timeout), fail.From(err).Message)
}
