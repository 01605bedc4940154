package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

func statsOf(ctx context.Context, e *env.Env) (*outbox.Outbox, outbox.Stats, error) {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return nil, outbox.Stats{}, err
	}
	s, err := ob.Stats(ctx)
	return ob, s, fail.Wrap("cannot count the outbox", err)
}

func lag(ctx context.Context, e *env.Env, o options, r *result) error {
	ob, s, err := statsOf(ctx, e)
	if err != nil {
		return err
	}
	age := s.OldestPendingAge
	r.add(seconds("oldest_pending", age, o.limits()), "the oldest message that is due has been waiting for "+age.Round(100*time.Millisecond).String())
	r.metrics = append(r.metrics, count("pending", s.Pending.N, limits{}), count("retrying", s.Retrying.N, limits{}),
		count("blocked", s.Blocked.N, limits{}), count("delayed", s.Delayed.N, limits{}))
	r.say(overview.Bounded(s.Pending.N, s.Pending.Exact) + " pending")
	if r.state == ok {
		if age > 0 {
			r.say("the oldest for " + age.Round(100*time.Millisecond).String())
		}
		return nil
	}
	r.say(overview.Bounded(s.Retrying.N, s.Retrying.Exact) + " retrying")
	alive, _, err := overview.Relays(ctx, ob)
	if err == nil && alive == 0 {
		r.reasons = append(r.reasons, "no relay is ready to publish")
	}
	if pauses, err := ob.Pauses(ctx); err == nil {
		r.reasons = append(r.reasons, overview.PausedReasons(pauses)...)
	}
	return nil // the age is known; relays and pauses are only a hint
}

// dead counts on both sides, as far as they are given.
func dead(ctx context.Context, e *env.Env, o options, r *result) error {
	given, err := e.Given()
	if err != nil {
		return err
	}
	if !given.Outbox && !given.Broker {
		_, err := e.OutboxURL()
		return err
	}
	if given.Outbox {
		if err := deadMessages(ctx, e, o, r); err != nil {
			r.away(o.late(ctx, err))
		}
	}
	if given.Broker {
		return deadLetters(ctx, e, given, o, r)
	}
	return nil
}

func deadMessages(ctx context.Context, e *env.Env, o options, r *result) error {
	_, s, err := statsOf(ctx, e)
	if err != nil {
		return err
	}
	r.add(count("dead", s.Dead.N, o.limits()), "see pulsectl outbox ls --status dead")
	r.say(overview.Bounded(s.Dead.N, s.Dead.Exact) + " dead in the outbox")
	return nil
}

func deadLetters(ctx context.Context, e *env.Env, given env.Servers, o options, r *result) error {
	q, err := queuesOf(ctx, e, given)
	if err != nil {
		return err
	}
	d, err := q.Depths(ctx)
	if err != nil {
		return err
	}
	letters := q.Names().DeadLetters
	r.add(count("dead_letters", int64(d.DeadLettered), o.limits()), "see the headers pulse-reason and pulse-last-error in "+letters)
	r.say(overview.Many(d.DeadLettered, "dead letter") + " in " + letters)
	return nil
}

// queuesOf returns the queues that the running consumer reports, or those of the
// flags if that cannot be known.
func queuesOf(ctx context.Context, e *env.Env, given env.Servers) (queues.Reader, error) {
	if given.Inbox {
		if in, _, err := e.Inbox(ctx); err == nil {
			return e.QueuesOf(ctx, in)
		}
	}
	return e.Queues()
}

func relay(ctx context.Context, e *env.Env, o options, r *result) error {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return err
	}
	alive, served, err := overview.Relays(ctx, ob)
	if err != nil {
		return fail.Wrap("cannot list the relays", err)
	}
	reason := "too few relays are ready to publish"
	if alive == 0 {
		reason = "no relay is ready to publish: none runs, or it has lost the broker"
	}
	r.add(count("relays", int64(alive), o.limits()), reason)
	none := 0.0
	orphans := overview.Buckets - served
	unserved := count("unserved_buckets", int64(orphans), limits{warn: &none})
	if alive == 0 {
		r.metrics = append(r.metrics, unserved)
	} else {
		r.add(unserved, fmt.Sprintf("%d of %d buckets are served by no relay", orphans, overview.Buckets))
	}
	r.say(overview.Many(alive, "relay") + " ready to publish")
	return nil
}

func inboxProbe(ctx context.Context, e *env.Env, o options, r *result) error {
	in, _, err := e.Inbox(ctx)
	if err != nil {
		return err
	}
	instances, err := in.Instances(ctx)
	if err != nil {
		return fail.Wrap("cannot list the instances", err)
	}
	running, held := 0, 0
	for _, i := range instances {
		if i.Live {
			held += i.Held
		}
		if i.Live && i.Subscribed {
			running++
		}
	}
	least := float64(o.minimum)
	given, err := e.Given()
	if err != nil {
		return err
	}
	if given.Broker {
		q, err := e.QueuesOf(ctx, in)
		if err != nil {
			return err
		}
		d, err := q.Depths(ctx)
		if err != nil {
			r.away(o.late(ctx, err))
		} else {
			waiting := d.Ready + held
			r.add(count("waiting", int64(waiting), o.limits()), overview.Many(waiting, "message")+" wait for the consumer "+in.Consumer())
			r.metrics = append(r.metrics, count("retrying", int64(d.Retrying), limits{}))
			r.say(fmt.Sprintf("%d ready in %s, %d waiting for a retry", d.Ready, q.Source.Queue, d.Retrying))
		}
	}
	r.add(count("instances", int64(running), limits{crit: &least, low: true}), notRunning(in.Consumer(), instances, running))
	r.metrics = append(r.metrics, count("held", int64(held), limits{}))
	r.say(fmt.Sprintf("%s of %s holding %s", overview.Many(running, "instance"), in.Consumer(), overview.Many(held, "message")))
	return nil
}

// notRunning says why there are too few instances.
func notRunning(consumer string, instances []inbox.InstanceStatus, running int) string {
	for _, i := range instances {
		if i.Live && !i.Subscribed {
			return "instance " + i.Name + " is not subscribed at the broker"
		}
	}
	if running == 0 {
		return "no instance of consumer " + consumer + " runs"
	}
	return "too few instances of consumer " + consumer + " run"
}

func broker(ctx context.Context, e *env.Env, o options, r *result) error {
	q, err := e.Queues()
	if err != nil {
		return err
	}
	begun := time.Now()
	conn, err := q.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	alarm, err := queues.Alarm(ctx, conn)
	if err != nil {
		return fail.Wrap("the broker does not take a message", err)
	}
	if alarm != "" {
		r.blame(critical, "the broker takes no messages: "+alarm)
		return nil
	}
	exchange := cmp.Or(o.exchange, wire.Exchange)
	there, err := queues.HasExchange(ctx, conn, exchange)
	if err != nil {
		return fail.Wrap("cannot look for the exchange", err)
	}
	if !there {
		r.blame(critical, "exchange "+exchange+" does not exist: no service has declared it")
	}
	took := time.Since(begun)
	r.add(seconds("time", took, o.limits()), "the broker took "+took.Round(time.Millisecond).String())
	if there {
		r.say("exchange " + exchange + " is there")
	}
	r.say("answered in " + took.Round(time.Millisecond).String())
	return nil
}

// schema checks the sides that are given.
func schema(ctx context.Context, e *env.Env, o options, r *result) error {
	given, err := e.Given()
	if err != nil {
		return err
	}
	if !given.Outbox && !given.Inbox {
		_, err := e.OutboxURL()
		return err
	}
	for _, side := range []struct {
		name  string
		given bool
	}{{"outbox", given.Outbox}, {"inbox", given.Inbox}} {
		if !side.given {
			continue
		}
		if err := checkSchema(ctx, e, side.name); err != nil {
			r.away(o.late(ctx, err))
			if errors.Is(err, outbox.ErrSchema) {
				r.say("run: pulsectl migrate up --only " + side.name)
			}
			continue
		}
		r.say(side.name + " is up to date")
	}
	return nil
}

func checkSchema(ctx context.Context, e *env.Env, side string) error {
	if side == "outbox" {
		ob, _, err := e.Outbox(ctx)
		if err != nil {
			return err
		}
		return fail.Wrap("outbox", ob.CheckSchema(ctx))
	}
	in, _, err := e.Inbox(ctx)
	if err != nil {
		return err
	}
	return fail.Wrap("inbox", in.CheckSchema(ctx))
}
