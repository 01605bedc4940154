package gin

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/asimalizada/pulse-events/examples/internal/api"
	"github.com/asimalizada/pulse-events/examples/internal/service"
	"github.com/asimalizada/pulse-events/examples/notifications"
)

func (s *Notifications) routes() []route {
	return []route{
		{http.MethodGet, "/notifications", s.listNotifications},
		{http.MethodGet, "/health/live", live},
		{http.MethodGet, "/health/ready", s.ready},
	}
}

func (s *Notifications) ready(c *gin.Context) error {
	report := service.ReportConsumer(notificationsService, s.health(), s.source)
	status, body := service.Ready(c.Request.Context(), s.log, s.db.Database, report)
	return api.Write(c.Writer, status, body)
}

func (s *Notifications) listNotifications(c *gin.Context) error {
	orderID, err := api.OrderID(c.Request)
	if err != nil {
		return err
	}
	limit, err := api.Limit(c.Request)
	if err != nil {
		return err
	}
	annotate(c, slog.String("order_id", orderID.String()))
	var rows []notificationRow
	// Reads one stretch of notifications_order_id, in its order.
	err = s.db.orm.WithContext(c.Request.Context()).
		Where("order_id = ?", orderID).Order("created_at, id").Limit(limit).Find(&rows).Error
	if err != nil {
		return fmt.Errorf("list notifications: %w", err)
	}
	list := make([]notifications.Notification, len(rows))
	for i, row := range rows {
		list[i] = row.notification()
	}
	return api.Write(c.Writer, http.StatusOK, list)
}
