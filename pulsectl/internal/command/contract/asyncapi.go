package contract

import (
	"net/url"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/asyncapi"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

func describe(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "asyncapi", Usage: "print contracts, exchange and queue as a document of AsyncAPI 3",
		Description: "Needs no server. Topics become channels that are routing keys of the exchange, the consumer's\n" +
			"queue (--queue) another one; each version of a contract is a message.",
		Flags: []cli.Flag{dirFlag(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "yaml", Usage: "`FORMAT` of the document: yaml, json"},
			&cli.StringFlag{Name: "role", Value: string(asyncapi.Both), Usage: "whose `OPERATIONS`: producer (send), consumer (receive), both"},
			&cli.StringFlag{Name: "title", Value: "Events", Usage: "`TITLE` of the document"},
			&cli.StringFlag{Name: "api-version", Value: "1.0.0", Usage: "`VERSION` of the document"},
			&cli.StringFlag{Name: "server", Usage: "`URL` of the broker, such as amqps://rabbitmq.example.com; users and passwords are left out"},
			&cli.StringFlag{Name: "exchange", Usage: "`NAME` of the exchange (default: pulse.events)"},
			&cli.StringFlag{Name: "exchange-type", Usage: "`TYPE` of the exchange (default: topic)"},
			&cli.StringSliceFlag{Name: "topic", Usage: "`TYPE=TOPIC` of a contract that is named by the type of its events, repeatable (default: contracts are named by topic)"},
			&cli.StringSliceFlag{Name: "binding", Usage: "routing `KEY` that the queue is bound with, repeatable (default: the name of the queue)"},
		},
		Action: func(ctx *cli.Context) error {
			o, err := asyncapiOptions(ctx, e)
			if err != nil {
				return err
			}
			files, set, err := load(ctx)
			if err != nil {
				return err
			}
			d, err := asyncapi.Describe(files, set.All(), o)
			if err != nil {
				return fail.Usagef("see: pulsectl contract ls", "%v", err)
			}
			if o.Role != asyncapi.Producer {
				for _, topic := range d.Unbound {
					e.IO.Notef("queue %s gets no messages of topic %s; its bindings are set by --binding", e.Flags.Queue, topic)
				}
			}
			for _, place := range d.Lost {
				e.IO.Notef("warning: %s: left out, AsyncAPI has no such keyword; the document allows more than the contract", place)
			}
			text, err := d.Document.YAML()
			if e.IO.Format == console.JSON || ctx.String("output") == "json" {
				text, err = d.Document.JSON()
			}
			if err != nil {
				return fail.Wrap("cannot write the document", err)
			}
			e.IO.Println(strings.TrimSuffix(string(text), "\n"))
			return nil
		},
	}
}

// asyncapiOptions reads the flags of describe.
func asyncapiOptions(ctx *cli.Context, e *env.Env) (asyncapi.Options, error) {
	o := asyncapi.Options{Title: ctx.String("title"), Version: ctx.String("api-version"), Role: asyncapi.Role(ctx.String("role")), Topics: make(map[string]string)}
	if !slices.Contains([]string{"yaml", "json"}, ctx.String("output")) {
		return o, fail.Usagef("have: yaml, json", "--output: unknown format %q", ctx.String("output"))
	}
	if !slices.Contains([]asyncapi.Role{asyncapi.Producer, asyncapi.Consumer, asyncapi.Both}, o.Role) {
		return o, fail.Usagef("have: producer, consumer, both", "--role: unknown value %q", string(o.Role))
	}
	for _, text := range ctx.StringSlice("topic") {
		name, topic, found := strings.Cut(text, "=")
		if !found || name == "" || topic == "" {
			return o, fail.Usagef("for example: --topic OrderCreated=order.created", "--topic: %q is not TYPE=TOPIC", text)
		}
		o.Topics[name] = topic
	}
	if server := ctx.String("server"); server != "" {
		u, err := url.Parse(server)
		if err != nil || u.Host == "" || u.Scheme != "amqp" && u.Scheme != "amqps" {
			return o, fail.Usagef("for example: amqps://rabbitmq.example.com", "--server: not the URL of a broker")
		}
		o.Server = u
	}
	layout, err := inboxrabbit.LayoutOf(inboxrabbit.SourceConfig{
		URL: "amqp://localhost", Queue: e.Flags.Queue, Exchange: ctx.String("exchange"), ExchangeType: ctx.String("exchange-type"), Topics: ctx.StringSlice("binding"),
	}, "")
	if err != nil {
		return o, fail.Usagef("run: pulsectl contract asyncapi --help", "%v", err)
	}
	o.Layout = layout
	return o, nil
}
