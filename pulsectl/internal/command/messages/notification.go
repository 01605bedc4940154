package messages

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

type notification struct {
	ID            any         `json:"id"`
	OrderID       string      `json:"orderId"`
	EventID       string      `json:"eventId"`
	CustomerID    string      `json:"customerId"`
	Amount        json.Number `json:"amount"`
	CorrelationID string      `json:"correlationId"`
	CreatedAt     time.Time   `json:"createdAt"`
}

var notificationColumns = []console.Column[notification]{
	{Key: "id", Value: func(n notification) any { return n.ID }, ID: true},
	{Key: "orderId", Value: func(n notification) any { return n.OrderID }, Keep: 4},
	{Key: "eventId", Value: func(n notification) any { return n.EventID }, Wide: true},
	{Key: "customerId", Value: func(n notification) any { return n.CustomerID }, Keep: 3, Min: 8},
	{Key: "amount", Value: func(n notification) any { return n.Amount }, Keep: 2},
	{Key: "correlationId", Value: func(n notification) any { return n.CorrelationID }},
	{Key: "createdAt", Value: func(n notification) any { return n.CreatedAt }, Head: "AGE", Keep: 1},
}

func notificationCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "notification", Usage: "read notifications through the notifications service",
		Subcommands: []*cli.Command{{
			Name: "ls", Aliases: []string{"list"}, Usage: "list the notifications of an order: one, however often its event was delivered",
			Flags: []cli.Flag{&cli.StringFlag{Name: "order", Usage: "order `ID`"}},
			Action: func(ctx *cli.Context) error {
				id := ctx.String("order")
				if id == "" {
					return fail.Usagef("run: pulsectl notification ls --order ID", "--order is missing")
				}
				if _, err := uuid.Parse(id); err != nil {
					return fail.Usagef("ids are printed by: pulsectl order ls", "--order: %q is not an order id", id)
				}
				list, err := notificationsOf(ctx.Context, e, id)
				if err != nil {
					return err
				}
				return console.RenderList(e.IO, console.List[notification]{Columns: notificationColumns, Items: list})
			},
		}},
	}
}

func notificationsOf(ctx context.Context, e *env.Env, orderID string) ([]notification, error) {
	base, err := e.NotificationsURL()
	if err != nil {
		return nil, err
	}
	a, err := e.API("notifications service", base)
	if err != nil {
		return nil, err
	}
	var list []notification
	err = a.Call(ctx, http.MethodGet, "/notifications?orderId="+url.QueryEscape(orderID), nil, nil, &list)
	return list, err
}
