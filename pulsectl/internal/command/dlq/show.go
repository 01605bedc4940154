package dlq

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/command/messages"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/deadletters"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// detailColumns are those of a letter, and what else it carries.
func detailColumns() []console.Column[detail] {
	var all []console.Column[detail]
	for _, c := range letterColumns {
		all = append(all, console.Column[detail]{Key: c.Key, Value: func(d detail) any { return c.Value(d.Letter) }, Wide: c.Wide, Only: c.Only, ID: c.ID, Wrap: c.Key == "error" || c.Key == "firstError"})
	}
	return append(all,
		console.Column[detail]{Key: "contentType", Value: func(d detail) any { return d.Raw.ContentType }, Wide: true},
		console.Column[detail]{Key: "contentEncoding", Value: func(d detail) any { return d.Raw.ContentEncoding }, Wide: true},
		console.Column[detail]{Key: "earlier", Value: func(d detail) any { return earlierJSON(d) }, Wrap: true, Wide: true},
		console.Column[detail]{Key: "deaths", Value: func(d detail) any { return deathsJSON(d) }, Wrap: true, Wide: true},
		console.Column[detail]{Key: "moves", Value: func(d detail) any { return movesJSON(d) }, Wrap: true, Wide: true},
		console.Column[detail]{Key: "envelope", Value: envelopeJSON, Wrap: true, Wide: true},
		console.Column[detail]{Key: "headers", Value: func(d detail) any { return deadletters.RecordHeaders(d.Raw.Headers) }, Only: true},
		console.Column[detail]{Key: "payload", Value: func(d detail) any { return messages.Payload(d.Raw.Body) }, Wrap: true},
	)
}

// listJSON is a list as JSON; nil: it is empty.
func listJSON[T any](list []T) any {
	if len(list) == 0 {
		return nil
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return err.Error()
	}
	return json.RawMessage(raw)
}

// atJSON is a time as JSON has it; nil: there is none.
func atJSON(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}

type earlierFailure struct {
	Reason     string     `json:"reason"`
	Error      string     `json:"error"`
	Attempts   int        `json:"attempts"`
	Consumer   string     `json:"consumer"`
	FailedAt   *time.Time `json:"failedAt"`
	RequeuedAt *time.Time `json:"requeuedAt"`
}

func earlierJSON(d detail) any {
	var all []earlierFailure
	for _, f := range d.Earlier {
		all = append(all, earlierFailure{f.Reason, f.Error, f.Attempts, f.Consumer, atJSON(f.FailedAt), atJSON(f.RequeuedAt)})
	}
	return listJSON(all)
}

type death struct {
	Queue       string     `json:"queue"`
	Reason      string     `json:"reason"`
	Count       int64      `json:"count"`
	Exchange    string     `json:"exchange"`
	RoutingKeys []string   `json:"routingKeys"`
	At          *time.Time `json:"at"`
}

func deathsJSON(d detail) any {
	var all []death
	for _, x := range d.Deaths {
		all = append(all, death{x.Queue, x.Reason, x.Count, x.Exchange, x.RoutingKeys, atJSON(x.At)})
	}
	return listJSON(all)
}

func movesJSON(d detail) any {
	var all []map[string]string
	for _, t := range d.Travels {
		move := map[string]string{"by": t.By}
		for _, f := range t.Fields {
			move[f.Name] = f.Value
		}
		all = append(all, move)
	}
	return listJSON(all)
}

type envelope struct {
	Format        string            `json:"format"`
	ID            string            `json:"id"`
	Type          string            `json:"type"`
	Source        string            `json:"source"`
	CorrelationID string            `json:"correlationId"`
	OccurredAt    *time.Time        `json:"occurredAt"`
	Attributes    map[string]string `json:"attributes"`
	Problem       *string           `json:"problem"`
	Payload       any               `json:"payload"`
}

func envelopeJSON(d detail) any {
	in := d.Envelope
	if in == nil {
		return nil
	}
	out := envelope{in.Format, in.ID, in.Type, in.Source, in.CorrelationID, atJSON(in.OccurredAt), in.Attributes, nil, messages.Payload(in.Payload)}
	if in.Problem != "" {
		out.Problem = &in.Problem
	}
	raw, err := json.Marshal(out)
	if err != nil {
		return err.Error()
	}
	return json.RawMessage(raw)
}

func showCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show one dead letter: payload, headers, history, and what other tools did to it; reads the whole queue and leaves it as it was", ArgsUsage: "ID",
		Flags: queueFlags(),
		Action: func(ctx *cli.Context) error {
			ref, err := env.OneArg(ctx, "id of a dead letter")
			if err != nil {
				return err
			}
			queues, err := target(ctx, e)
			if err != nil {
				return err
			}
			return show(ctx.Context, e, queues, ref)
		},
	}
}

func show(ctx context.Context, e *env.Env, queues []deadletters.Queue, ref string) error {
	var found []detail
	var missing error
	err := reading(ctx, e, "the dead letters", queues, func(queue deadletters.Queue) error {
		some, err := queue.Get(ctx, ref)
		if f, is := errors.AsType[*fail.Error](err); is && f.Kind == fail.NotFound {
			missing = err
			return nil
		}
		found = append(found, some...)
		return err
	})
	switch {
	case err != nil:
		return err
	case len(found) == 0:
		return missing
	}
	if err := console.RenderOne(e.IO, detailColumns(), found[0]); err != nil {
		return err
	}
	if len(found) > 1 {
		e.IO.Notef("there are %d copies of it; this is the first", len(found))
	}
	return nil
}
