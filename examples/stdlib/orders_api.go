package stdlib

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/asimalizada/pulse-events/examples/auth"
	"github.com/asimalizada/pulse-events/examples/internal/api"
	"github.com/asimalizada/pulse-events/examples/orders"
)

func (s *Orders) routes() []route {
	return []route{
		{http.MethodPost, "/orders", allow(auth.OrdersWrite, s.createOrder)},
		{http.MethodGet, "/orders", allow(auth.OrdersRead, s.listOrders)},
		{http.MethodGet, "/orders/{id}", allow(auth.OrdersRead, s.getOrder)},
		{http.MethodGet, "/health/live", always(s.health)},
		{http.MethodGet, "/health/ready", always(s.health)},
	}
}

func (s *Orders) createOrder(w http.ResponseWriter, r *http.Request) error {
	key, err := api.IdempotencyKey(r)
	if err != nil {
		return err
	}
	draft, err := api.ReadDraft(w, r)
	if err != nil {
		return err
	}
	if err := api.RequireCustomer(r.Context(), draft.CustomerID); err != nil {
		return err
	}
	receipt, replayed, err := s.place(r.Context(), draft, key)
	if errors.Is(err, orders.ErrKeyReused) {
		return api.KeyReused()
	}
	if err != nil {
		return err
	}
	annotate(r.Context(), slog.String("order_id", receipt.OrderID.String()), slog.String("event_id", receipt.EventID.String()))
	if replayed {
		annotate(r.Context(), slog.Bool("replayed", true))
	}
	return api.WriteReceipt(w, receipt, replayed)
}

func (s *Orders) getOrder(w http.ResponseWriter, r *http.Request) error {
	id, err := api.ParseUUID("id", r.PathValue("id"))
	if err != nil {
		return err
	}
	annotate(r.Context(), slog.String("order_id", id.String()))
	ctx, cancel := s.db.Limit(r.Context())
	defer cancel()
	var order orders.Order
	err = s.db.GetContext(ctx, &order, s.db.queries.Get("get_order"), id)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !api.Sees(ctx, order.CustomerID) {
		return api.NoOrder(id)
	}
	if err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	order.CreatedAt = order.CreatedAt.UTC()
	return api.Write(w, http.StatusOK, order)
}

func (s *Orders) listOrders(w http.ResponseWriter, r *http.Request) error {
	limit, err := api.Limit(r)
	if err != nil {
		return err
	}
	ctx, cancel := s.db.Limit(r.Context())
	defer cancel()
	list := []orders.Order{}
	query, args := "list_orders", []any{limit}
	if customer := api.OnlyCustomer(ctx); customer != "" {
		query, args = "list_orders_of_customer", []any{customer, limit}
	}
	if err := s.db.SelectContext(ctx, &list, s.db.queries.Get(query), args...); err != nil {
		return fmt.Errorf("list orders: %w", err)
	}
	for i := range list {
		list[i].CreatedAt = list[i].CreatedAt.UTC()
	}
	return api.Write(w, http.StatusOK, list)
}
