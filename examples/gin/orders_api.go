package gin

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"
	"gorm.io/gorm"

	"github.com/asimalizada/pulse-events/examples/auth"
	"github.com/asimalizada/pulse-events/examples/internal/api"
	"github.com/asimalizada/pulse-events/examples/orders"
)

func (s *Orders) routes() []route {
	return []route{
		{http.MethodPost, "/orders", allow(auth.OrdersWrite, s.createOrder)},
		{http.MethodGet, "/orders", allow(auth.OrdersRead, s.listOrders)},
		{http.MethodGet, "/orders/:id", allow(auth.OrdersRead, s.getOrder)},
		{http.MethodGet, "/health/live", always(s.health)},
		{http.MethodGet, "/health/ready", always(s.health)},
	}
}

func (s *Orders) createOrder(c *gin.Context) error {
	key, err := api.IdempotencyKey(c.Request)
	if err != nil {
		return err
	}
	draft, err := api.ReadDraft(c.Writer, c.Request)
	if err != nil {
		return err
	}
	if err := api.RequireCustomer(c.Request.Context(), draft.CustomerID); err != nil {
		return err
	}
	receipt, replayed, err := s.place(c.Request.Context(), draft, key)
	if errors.Is(err, orders.ErrKeyReused) {
		return api.KeyReused()
	}
	if err != nil {
		return err
	}
	annotate(c, slog.String("order_id", receipt.OrderID.String()), slog.String("event_id", receipt.EventID.String()))
	if replayed {
		annotate(c, slog.Bool("replayed", true))
	}
	return api.WriteReceipt(c.Writer, receipt, replayed)
}

func (s *Orders) getOrder(c *gin.Context) error {
	id, err := api.ParseUUID("id", c.Param("id"))
	if err != nil {
		return err
	}
	annotate(c, slog.String("order_id", id.String()))
	ctx, cancel := s.db.Limit(c.Request.Context())
	defer cancel()
	var row orderRow
	err = s.db.orm.WithContext(ctx).Where("id = ?", id).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) || err == nil && !api.Sees(ctx, row.CustomerID) {
		return api.NoOrder(id)
	}
	if err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	return api.Write(c.Writer, http.StatusOK, row.order())
}

func (s *Orders) listOrders(c *gin.Context) error {
	limit, err := api.Limit(c.Request)
	if err != nil {
		return err
	}
	ctx, cancel := s.db.Limit(c.Request.Context())
	defer cancel()
	var rows []orderRow
	// Walks orders_newest, or orders_newest_of_customer, and stops at the limit.
	query := s.db.orm.WithContext(ctx).Order("created_at DESC, id DESC").Limit(limit)
	if customer := api.OnlyCustomer(ctx); customer != "" {
		query = query.Where("customer_id = ?", customer)
	}
	err = query.Find(&rows).Error
	if err != nil {
		return fmt.Errorf("list orders: %w", err)
	}
	list := make([]orders.Order, len(rows))
	for i, row := range rows {
		list[i] = row.order()
	}
	return api.Write(c.Writer, http.StatusOK, list)
}
