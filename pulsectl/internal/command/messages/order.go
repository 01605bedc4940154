package messages

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/api"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

type order struct {
	OrderID       string      `json:"orderId"`
	EventID       string      `json:"eventId"`
	CustomerID    string      `json:"customerId"`
	Amount        json.Number `json:"amount"`
	CorrelationID string      `json:"correlationId"`
	CreatedAt     time.Time   `json:"createdAt"`
}

// receipt is the response to creating an order.
type receipt struct {
	OrderID       string `json:"orderId"`
	EventID       string `json:"eventId"`
	CorrelationID string `json:"correlationId"`
}

var orderColumns = []console.Column[order]{
	{Key: "orderId", Value: func(o order) any { return o.OrderID }, ID: true},
	{Key: "customerId", Value: func(o order) any { return o.CustomerID }, Keep: 3, Min: 8},
	{Key: "amount", Value: func(o order) any { return o.Amount }, Keep: 2},
	{Key: "eventId", Value: func(o order) any { return o.EventID }, Wide: true},
	{Key: "correlationId", Value: func(o order) any { return o.CorrelationID }},
	{Key: "createdAt", Value: func(o order) any { return o.CreatedAt }, Head: "AGE", Keep: 1},
}

var receiptColumns = []console.Column[receipt]{
	{Key: "orderId", Value: func(r receipt) any { return r.OrderID }, ID: true},
	{Key: "eventId", Value: func(r receipt) any { return r.EventID }},
	{Key: "correlationId", Value: func(r receipt) any { return r.CorrelationID }},
}

func orderCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "order", Usage: "create and read orders through the orders service",
		Subcommands: []*cli.Command{
			{
				Name: "create", Usage: "create an order and, in the same transaction, its event",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "customer", Usage: "customer `ID`"},
					&cli.StringFlag{Name: "amount", Usage: "`N` with at most two decimals, such as 77.5"},
					&cli.StringFlag{Name: "correlation-id", Usage: "`ID` of the business action (default: a new one)"},
					&cli.StringFlag{Name: "idempotency-key", Usage: "`KEY` that makes it safe to repeat the request: the order is placed once"},
					&cli.StringFlag{Name: "wait", Usage: "return once the event is `STATE`: published or handled"},
					env.TimeoutFlag(30 * time.Second),
				},
				Action: func(ctx *cli.Context) error {
					o := NewOrder{
						Customer: ctx.String("customer"), Amount: ctx.String("amount"),
						CorrelationID: ctx.String("correlation-id"), IdempotencyKey: ctx.String("idempotency-key"), Wait: ctx.String("wait"), Timeout: ctx.Duration("timeout"),
					}
					if err := o.Validate(); err != nil {
						return err
					}
					return o.run(ctx.Context, e)
				},
			},
			{
				Name: "get", Usage: "show one order", ArgsUsage: "ID",
				Action: func(ctx *cli.Context) error {
					id, err := env.OneArg(ctx, "order id")
					if err != nil {
						return err
					}
					return getOrder(ctx.Context, e, id)
				},
			},
			{
				Name: "ls", Aliases: []string{"list"}, Usage: "list orders, the newest first",
				Flags:  []cli.Flag{env.LimitFlag()},
				Action: func(ctx *cli.Context) error { return listOrders(ctx.Context, e, ctx.Int("limit")) },
			},
		},
	}
}

// NewOrder is the input of PlaceOrder.
type NewOrder struct {
	Customer, Amount              string
	CorrelationID, IdempotencyKey string        // may be empty
	Wait                          string        // what to wait for: published or handled; empty: nothing
	Timeout                       time.Duration // of that wait
}

// Validate reports the first invalid flag.
func (o NewOrder) Validate() error {
	const hint = "for example: pulsectl order create --customer customer-123 --amount 77.5"
	if o.Customer == "" {
		return fail.Usagef(hint, "--customer is missing")
	}
	if o.Amount == "" {
		return fail.Usagef(hint, "--amount is missing")
	}
	if _, err := strconv.ParseFloat(o.Amount, 64); err != nil || !json.Valid([]byte(o.Amount)) {
		return fail.Usagef(hint, "--amount: %q is not a number", o.Amount)
	}
	if o.Wait != "" && o.Wait != "published" && o.Wait != "handled" {
		return fail.Usagef("have: published, handled", "--wait: unknown state %q", o.Wait)
	}
	return nil
}

func orders(e *env.Env) (*api.Client, error) {
	base, err := e.OrdersURL()
	if err != nil {
		return nil, err
	}
	return e.API("orders service", base)
}

func (o NewOrder) run(ctx context.Context, e *env.Env) error {
	r, err := PlaceOrder(ctx, e, o)
	if err != nil {
		return err
	}
	if err := console.RenderOne(e.IO, receiptColumns, r); err != nil {
		return err
	}
	return waitForEvent(ctx, e, r, o.Wait, o.Timeout)
}

// PlaceOrder places an order through the orders service.
func PlaceOrder(ctx context.Context, e *env.Env, o NewOrder) (r receipt, err error) {
	a, err := orders(e)
	if err != nil {
		return r, err
	}
	header := http.Header{}
	if o.CorrelationID != "" {
		header.Set("x-correlation-id", o.CorrelationID)
	}
	if o.IdempotencyKey != "" {
		header.Set("Idempotency-Key", o.IdempotencyKey)
	}
	body := struct {
		CustomerID string          `json:"customerId"`
		Amount     json.RawMessage `json:"amount"`
	}{o.Customer, json.RawMessage(o.Amount)}
	err = a.Call(ctx, http.MethodPost, "/orders", header, body, &r)
	return r, err
}

// waitForEvent waits until the order's event is published, or its notification
// written.
func waitForEvent(ctx context.Context, e *env.Env, r receipt, state string, timeout time.Duration) error {
	switch state {
	case "published":
		ob, _, err := e.Outbox(ctx)
		if err != nil {
			return err
		}
		id, err := uuid.Parse(r.EventID)
		if err != nil {
			return fail.Wrap("the orders service returned an invalid event id", err)
		}
		return e.IO.Until(ctx, timeout, "the event to be published", func(ctx context.Context) (string, error) {
			rec, err := ob.Get(ctx, id)
			if err != nil || !rec.PublishedAt.IsZero() {
				return "", err
			}
			return "it is still " + string(rec.Status), nil
		})
	case "handled":
		return e.IO.Until(ctx, timeout, "the notification to be written", func(ctx context.Context) (string, error) {
			list, err := notificationsOf(ctx, e, r.OrderID)
			if err != nil || len(list) > 0 {
				return "", err
			}
			return "none yet", nil
		})
	}
	return nil
}

func getOrder(ctx context.Context, e *env.Env, id string) error {
	a, err := orders(e)
	if err != nil {
		return err
	}
	var o order
	if err := a.Call(ctx, http.MethodGet, "/orders/"+url.PathEscape(id), nil, nil, &o); err != nil {
		return err
	}
	return console.RenderOne(e.IO, orderColumns, o)
}

func listOrders(ctx context.Context, e *env.Env, limit int) error {
	if err := env.CheckLimit(limit); err != nil {
		return err
	}
	a, err := orders(e)
	if err != nil {
		return err
	}
	var orders []order
	if err := a.Call(ctx, http.MethodGet, "/orders?limit="+strconv.Itoa(limit), nil, nil, &orders); err != nil {
		return err
	}
	if len(orders) == limit {
		e.IO.Notef("showing the newest %d; more with --limit", limit)
	}
	return console.RenderList(e.IO, console.List[order]{Columns: orderColumns, Items: orders})
}
