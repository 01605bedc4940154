package gin

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/asimalizada/pulse-events/examples/auth"
	"github.com/asimalizada/pulse-events/examples/internal/api"
	"github.com/asimalizada/pulse-events/examples/notifications"
)

func (s *Notifications) routes() []route {
	return []route{
		{http.MethodGet, "/notifications", allow(auth.NotificationsRead, s.listNotifications)},
		{http.MethodGet, "/health/live", always(s.health)},
		{http.MethodGet, "/health/ready", always(s.health)},
	}
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
	ctx, cancel := s.db.Limit(c.Request.Context())
	defer cancel()
	var rows []notificationRow
	// Reads one stretch of notifications_order_id, in its order.
	err = s.db.orm.WithContext(ctx).
		Where("order_id = ?", orderID).Order("created_at, id").Limit(limit).Find(&rows).Error
	if err != nil {
		return fmt.Errorf("list notifications: %w", err)
	}
	list := make([]notifications.Notification, 0, len(rows))
	for _, row := range rows {
		if n := row.notification(); api.Sees(ctx, n.CustomerID) {
			list = append(list, n)
		}
	}
	return api.Write(c.Writer, http.StatusOK, list)
}
