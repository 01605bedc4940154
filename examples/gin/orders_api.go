package gin

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"
	"gorm.io/gorm"

	"github.com/asimalizada/pulse-events/examples/internal/api"
	"github.com/asimalizada/pulse-events/examples/internal/service"
	"github.com/asimalizada/pulse-events/examples/orders"
)

func (s *Orders) routes() []route {
	return []route{
		{http.MethodPost, "/orders", s.createOrder},
		{http.MethodGet, "/orders", s.listOrders},
		{http.MethodGet, "/orders/:id", s.getOrder},
		{http.MethodGet, "/health/live", live},
		{http.MethodGet, "/health/ready", s.ready},
	}
}

func (s *Orders) ready(c *gin.Context) error {
	report := service.ReportRelay(ordersService, s.relay.Health(), s.publisher)
	status, body := service.Ready(c.Request.Context(), s.log, s.db.Database, report)
	return api.Write(c.Writer, status, body)
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
	var row orderRow
	err = s.db.orm.WithContext(c.Request.Context()).Where("id = ?", id).Take(&row).Error
	if errors.Is(err, gorm.ErrRecordNotFound) {
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
	var rows []orderRow
	// Walks orders_newest and stops at the limit.
	err = s.db.orm.WithContext(c.Request.Context()).Order("created_at DESC, id DESC").Limit(limit).Find(&rows).Error
	if err != nil {
		return fmt.Errorf("list orders: %w", err)
	}
	list := make([]orders.Order, len(rows))
	for i, row := range rows {
		list[i] = row.order()
	}
	return api.Write(c.Writer, http.StatusOK, list)
}
