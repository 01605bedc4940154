package stacks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/api"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/messages"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// component is one component of a stack and its state.
type component struct {
	name, state, detail string
}

const (
	stateOK       = "ok"
	stateDegraded = "degraded"
	stateDown     = "down"
	stateUnknown  = "not given"
)

var componentColumns = []console.Column[component]{
	{Key: "component", Value: func(c component) any { return c.name }, ID: true},
	{Key: "state", Value: func(c component) any { return c.state }, Tone: func(c component) console.Tone {
		switch c.state {
		case stateOK:
			return console.Good
		case stateDegraded:
			return console.Warn
		case stateDown:
			return console.Bad
		}
		return console.Dim
	}},
	{Key: "detail", Value: func(c component) any { return c.detail }, Wrap: true},
}

// Status returns the command status.
func Status(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show the state of each component; exit 5 if one is down",
		Action: func(ctx *cli.Context) error { return status(ctx.Context, e) },
	}
}

func status(ctx context.Context, e *env.Env) error {
	parts := []component{stackPart(e)}
	parts = append(parts, servicePart(ctx, e, "orders", e.GivenOrdersURL), servicePart(ctx, e, "notifications", e.GivenNotificationsURL))
	parts = append(parts, outboxPart(ctx, e), inboxPart(ctx, e), brokerPart(ctx, e))
	parts = append(parts, containerParts(ctx, e)...)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := console.RenderList(e.IO, console.List[component]{Columns: componentColumns, Items: parts}); err != nil {
		return err
	}
	var down []string
	for _, p := range parts {
		if p.state == stateDown {
			down = append(down, p.name)
		}
	}
	if len(down) > 0 {
		return fail.New(fail.Unreachable, "", "down: %s", strings.Join(down, ", "))
	}
	return nil
}

func stackPart(e *env.Env) component {
	s, err := e.Running()
	switch {
	case errors.Is(err, stack.ErrNotRunning):
		return component{"stack", stateUnknown, "none was started here with pulsectl up"}
	case err != nil:
		return component{"stack", stateDown, err.Error()}
	}
	return component{"stack", stateOK, s.Driver().Describe(s).Status}
}

// part returns the component for the result of a check. A missing setting is
// not an outage.
func part(name, detail string, err error) component {
	if err == nil {
		return component{name, stateOK, detail}
	}
	if f := fail.From(err); f.Kind == fail.Usage {
		return component{name, stateUnknown, f.Message}
	}
	return component{name, stateDown, err.Error()}
}

func servicePart(ctx context.Context, e *env.Env, name string, baseURL func() (string, bool, error)) component {
	base, given, err := baseURL()
	if err != nil {
		return part(name, "", err)
	}
	if !given {
		return component{name, stateUnknown, "no " + name + " service given"}
	}
	a, err := api.New(name+" service", base)
	if err != nil {
		return part(name, "", err)
	}
	var health map[string]json.RawMessage
	if err := a.Call(ctx, http.MethodGet, "/health/ready", nil, nil, &health); err != nil {
		return part(name, "", err)
	}
	c := component{name, stateOK, base}
	for _, role := range []string{"relay", "consumer"} {
		var worker struct {
			State     string `json:"state"`
			LastError string `json:"lastError"`
		}
		if json.Unmarshal(health[role], &worker) != nil || worker.State == "" {
			continue
		}
		c.detail += fmt.Sprintf(", %s %s", role, worker.State)
		if worker.State == stateDegraded {
			c.state = stateDegraded
			c.detail += ": " + worker.LastError
		}
	}
	return c
}

// judged returns a component that is degraded if there are reasons, which then
// come first.
func judged(name, detail string, reasons []string) component {
	if len(reasons) == 0 {
		return component{name, stateOK, detail}
	}
	return component{name, stateDegraded, strings.Join(append(reasons, detail), "; ")}
}

func outboxPart(ctx context.Context, e *env.Env) component {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return part("outbox", "", err)
	}
	s, err := ob.Stats(ctx)
	if err != nil {
		return part("outbox", "", fail.Wrap("cannot count the outbox", err))
	}
	alive, served, err := messages.Relays(ctx, ob)
	if err != nil {
		return part("outbox", "", fail.Wrap("cannot list the relays", err))
	}
	var reasons []string
	if s.Dead.N > 0 {
		reasons = append(reasons, messages.Counted(s.Dead.N, s.Dead.Exact)+" dead, see pulsectl outbox ls --status dead")
	}
	if s.Retrying.N > 0 {
		why, err := refusals(ctx, ob, s.Retrying)
		if err != nil {
			return part("outbox", "", fail.Wrap("cannot list the outbox", err))
		}
		reasons = append(reasons, why...)
	}
	switch waiting := s.Pending.N > s.Delayed.N; {
	case waiting && alive == 0:
		reasons = append(reasons, "no relay is ready to publish the pending messages")
	case waiting && served < messages.Buckets:
		reasons = append(reasons, fmt.Sprintf("%d of %d buckets are served by no relay: their messages stay pending", messages.Buckets-served, messages.Buckets))
	}
	detail := fmt.Sprintf("%s pending, %s dead, %s published, %s", messages.Counted(s.Pending.N, s.Pending.Exact), messages.Counted(s.Dead.N, s.Dead.Exact), messages.Counted(s.Published.N, s.Published.Exact), messages.Many(alive, "relay"))
	if !s.OldestPending.IsZero() {
		detail += fmt.Sprintf(", the oldest waits for %s", s.OldestPendingAge.Round(100_000_000))
	}
	return judged("outbox", detail, reasons)
}

// unrouted matches the broker's text about a message that no queue is bound
// for.
var unrouted = regexp.MustCompile(`returned by exchange "([^"]*)" for routing key "([^"]*)"`)

// refusals returns why messages are retried: the topics for which no queue is
// bound, or the newest other error.
func refusals(ctx context.Context, ob *outbox.Outbox, retrying outbox.Count) (reasons []string, err error) {
	const looked = 200
	page, err := ob.List(ctx, outbox.ListQuery{Retrying: true, WithoutPayload: true, Limit: looked})
	if err != nil {
		return nil, err
	}
	var unbound []string
	other := ""
	for _, r := range page.Records {
		switch m := unrouted.FindStringSubmatch(r.LastError); {
		case m == nil:
			other = cmp.Or(other, r.LastError)
		default:
			by := "with this key"
			if strings.Contains(r.LastError, "bind a queue by headers") {
				by = "by headers"
			}
			text := fmt.Sprintf("no queue is bound for topic %s: bind one to exchange %s %s", m[2], m[1], by)
			if !slices.Contains(unbound, text) {
				unbound = append(unbound, text)
			}
		}
	}
	if other != "" {
		unbound = append(unbound, "the broker refuses: "+other)
	}
	return append([]string{messages.Counted(retrying.N, retrying.Exact) + " retrying"}, unbound...), nil
}

func inboxPart(ctx context.Context, e *env.Env) component {
	in, _, err := e.Inbox(ctx)
	if err != nil {
		return part("inbox", "", err)
	}
	s, err := in.Stats(ctx)
	if err != nil {
		return part("inbox", "", fail.Wrap("cannot count the inbox", err))
	}
	instances, err := in.Instances(ctx)
	if err != nil {
		return part("inbox", "", fail.Wrap("cannot list the instances", err))
	}
	var reasons []string
	running, held := 0, 0
	for _, i := range instances {
		if !i.Live {
			continue
		}
		running, held = running+1, held+i.Held
		if !i.Subscribed {
			reasons = append(reasons, "instance "+i.Name+" is not subscribed at the broker")
		}
	}
	detail := fmt.Sprintf("%s applied by %s, %s", messages.Counted(s.Applied.N, s.Applied.Exact), in.Consumer(), messages.Many(running, "instance"))
	if held > 0 {
		detail += fmt.Sprintf(" holding %s", messages.Many(held, "message"))
	}
	if s.Applied.N == 0 && running == 0 {
		names, err := in.Consumers(ctx)
		if err != nil {
			return part("inbox", "", fail.Wrap("cannot list the consumers", err))
		}
		if len(names) > 0 {
			reasons = append(reasons, fmt.Sprintf("there is no consumer %s; consumers: %s", in.Consumer(), strings.Join(names, ", ")))
		}
	}
	return judged("inbox", detail, reasons)
}

func brokerPart(ctx context.Context, e *env.Env) component {
	q, err := e.Queues()
	if err != nil {
		return part("broker", "", err)
	}
	if in, _, err := e.Inbox(ctx); err == nil {
		if theirs, err := e.QueuesOf(ctx, in); err == nil {
			q = theirs
		}
	}
	d, err := q.Depths(ctx)
	if err != nil {
		return part("broker", "", err)
	}
	var reasons []string
	names := inboxrabbit.QueueNames(q.Source.Queue, q.Source.RetryDelays)
	switch {
	case slices.Contains(d.Missing, names.Queue):
		reasons = append(reasons, "queue "+names.Queue+" does not exist: no consumer has declared it")
	case d.Ready > 0 && d.Consumers == 0:
		reasons = append(reasons, "no consumer on queue "+names.Queue)
	}
	if d.DeadLettered > 0 {
		reasons = append(reasons, messages.Many(d.DeadLettered, "dead letter")+" in "+names.DeadLetters)
	}
	detail := fmt.Sprintf("%d ready, %d waiting for a retry, %d dead-lettered, %s", d.Ready, d.Retrying, d.DeadLettered, messages.Many(d.Consumers, "consumer"))
	if len(d.Missing) > 0 {
		detail += "; missing: " + strings.Join(d.Missing, ", ")
	}
	return judged("broker", detail, reasons)
}

// containerParts returns the containers of a compose stack; other stacks have
// none.
func containerParts(ctx context.Context, e *env.Env) []component {
	s, err := e.Running()
	if err != nil {
		return nil
	}
	list, err := s.Driver().Containers(ctx, s)
	if err != nil {
		return []component{{"containers", stateDown, err.Error()}}
	}
	var parts []component
	for _, c := range list {
		state := stateDown
		switch {
		case c.Healthy():
			state = stateOK
		case c.Condition() == "starting", c.Status == "paused":
			state = stateDegraded
		}
		parts = append(parts, component{c.Service, state, fmt.Sprintf("%s, container %s, image %s", c.Condition(), c.Name, c.Image)})
	}
	return parts
}
