package messages

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// brokerPart is an exchange, a queue or a binding that a consumer needs.
type brokerPart struct {
	kind, name, purpose string
	arguments           map[string]any
}

var brokerColumns = []console.Column[brokerPart]{
	{Key: "kind", Value: func(p brokerPart) any { return p.kind }},
	{Key: "name", Value: func(p brokerPart) any { return p.name }, ID: true},
	{Key: "arguments", Value: func(p brokerPart) any { return p.arguments }, Only: true},
	{Key: "purpose", Value: func(p brokerPart) any { return p.purpose }, Only: true},
	{Key: "settings", Value: brokerPart.settings, Wrap: true},
}

func (p brokerPart) settings() any {
	switch {
	case p.kind == "queue":
		return "durable, arguments " + spacedJSON(p.arguments)
	case len(p.arguments) > 0:
		return p.purpose + ", arguments " + spacedJSON(p.arguments)
	}
	return p.purpose
}

// spacedJSON returns JSON on one line that can be wrapped between the
// arguments.
func spacedJSON(arguments map[string]any) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(arguments)) {
		value, err := json.Marshal(arguments[name])
		if err != nil {
			return err.Error()
		}
		parts = append(parts, strconv.Quote(name)+":"+string(value))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func brokerCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "broker", Usage: "print which exchange and queues a consumer needs",
		Subcommands: []*cli.Command{{
			Name: "topology", Usage: "print exchange, queues and bindings with all arguments, to create them by other means; changes nothing",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "exchange", Usage: "`NAME` of the exchange (default: pulse.events)"},
				&cli.StringFlag{Name: "exchange-type", Usage: "`TYPE` of the exchange: topic, direct, fanout, headers, or a plugin's (default: topic)"},
				&cli.StringSliceFlag{Name: "match-headers", Usage: "binding to a headers exchange as a `JSON` object, such as {\"region\":\"eu\"}, repeatable", KeepSpace: true},
				&cli.StringSliceFlag{Name: "queue-argument", Usage: "further `NAME=VALUE` argument of the queue, repeatable; the value is JSON, or text"},
				&cli.StringSliceFlag{Name: "topic", Usage: "binding `KEY`, repeatable (default: the name of the queue)"},
				&cli.StringFlag{Name: "queue-type", Value: inboxrabbit.Quorum.String(), Usage: "`TYPE` of the queues: quorum, classic"},
				&cli.StringSliceFlag{Name: "retry-delay", Usage: "`DURATION` that a retry queue delays by, repeatable, ascending (default: 1s, 5s, 30s, 2m, 10m)"},
				&cli.BoolFlag{Name: "single-active-consumer", Usage: "only one consumer at a time gets deliveries"},
				&cli.StringFlag{Name: "server-version", Usage: "`VERSION` of RabbitMQ, such as 4.1 (default: ask the broker, else 3.x)"},
				&cli.BoolFlag{Name: "definitions", Usage: "print JSON for rabbitmqctl import_definitions and rabbitmqadmin import"},
			},
			Action: func(ctx *cli.Context) error {
				cfg := inboxrabbit.SourceConfig{
					Queue: e.Flags.Queue, Exchange: ctx.String("exchange"), ExchangeType: ctx.String("exchange-type"), Topics: ctx.StringSlice("topic"),
					SingleActiveConsumer: ctx.Bool("single-active-consumer"),
				}
				if err := readTopologyFlags(ctx, &cfg); err != nil {
					return err
				}
				return topologyOptions{cfg, ctx.String("server-version"), ctx.Bool("definitions")}.run(ctx.Context, e)
			},
		}},
	}
}

func readTopologyFlags(ctx *cli.Context, cfg *inboxrabbit.SourceConfig) error {
	switch kind := ctx.String("queue-type"); kind {
	case inboxrabbit.Quorum.String():
	case inboxrabbit.Classic.String():
		cfg.QueueType = inboxrabbit.Classic
	default:
		return fail.Usagef("have: quorum, classic", "--queue-type: unknown type %q", kind)
	}
	for _, text := range ctx.StringSlice("retry-delay") {
		delay, err := time.ParseDuration(text)
		if err != nil {
			return fail.Usagef("for example: --retry-delay 5s --retry-delay 1m", "--retry-delay: %q is not a duration", text)
		}
		cfg.RetryDelays = append(cfg.RetryDelays, delay)
	}
	for _, text := range ctx.StringSlice("match-headers") {
		headers, ok := jsonValue(text).(map[string]any)
		if !ok {
			return fail.Usagef(`for example: --match-headers '{"region":"eu"}'`, "--match-headers: %q is not a JSON object", text)
		}
		for name, value := range headers {
			headers[name] = argument(value)
		}
		cfg.MatchHeaders = append(cfg.MatchHeaders, headers)
	}
	for _, text := range ctx.StringSlice("queue-argument") {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" {
			return fail.Usagef("for example: --queue-argument x-max-length=100000", "--queue-argument: %q is not NAME=VALUE", text)
		}
		if cfg.QueueArguments == nil {
			cfg.QueueArguments = make(map[string]any)
		}
		cfg.QueueArguments[name] = value
		if v := jsonValue(value); v != nil {
			cfg.QueueArguments[name] = argument(v)
		}
	}
	return nil
}

// jsonValue reads JSON; nil: it is none.
func jsonValue(text string) (value any) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if decoder.Decode(&value) != nil || decoder.More() {
		return nil
	}
	return value
}

// argument returns a value of JSON as brokers take it.
func argument(value any) any {
	number, ok := value.(json.Number)
	if !ok {
		return value
	}
	if n, err := number.Int64(); err == nil {
		return n
	}
	f, _ := number.Float64() // a number by its form
	return f
}

type topologyOptions struct {
	source      inboxrabbit.SourceConfig
	version     string // of the server; empty: ask the broker
	definitions bool   // print JSON for an import
}

// run prints the exchange, queues and bindings that a source needs.
func (o topologyOptions) run(ctx context.Context, e *env.Env) error {
	vhost := "/"
	o.source.URL = "amqp://localhost" // not used
	if q, err := e.Queues(); err == nil {
		if u, err := url.Parse(q.Source.URL); err == nil && len(u.Path) > 1 {
			vhost = strings.TrimPrefix(u.Path, "/")
		}
		if o.version == "" {
			err := q.Inspect(ctx, func(_ context.Context, i *inboxrabbit.Inspector) error {
				o.version = i.ServerVersion()
				return nil
			})
			if err != nil {
				e.IO.Notef("the broker does not answer: this is for RabbitMQ 3.x; for another version pass --server-version")
			}
		}
	}
	layout, err := inboxrabbit.LayoutOf(o.source, o.version)
	if err != nil {
		return fail.Usagef("run: pulsectl broker topology --help", "%v", err)
	}
	if o.definitions {
		text, err := layout.Definitions(vhost)
		if err != nil {
			return err
		}
		e.IO.Println(string(text))
		return nil
	}
	parts := []brokerPart{{"exchange", layout.Exchange.Name, "durable, type " + layout.Exchange.Type, map[string]any{}}}
	for _, q := range layout.Queues {
		parts = append(parts, brokerPart{"queue", q.Name, q.Purpose, q.Arguments})
	}
	for _, b := range layout.Bindings {
		args := b.Arguments
		if args == nil {
			args = map[string]any{}
		}
		parts = append(parts, brokerPart{"binding", b.RoutingKey, "of queue " + b.Queue + " to exchange " + b.Exchange, args})
	}
	return console.RenderList(e.IO, console.List[brokerPart]{Columns: brokerColumns, Items: parts})
}
