package stdlib

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"

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

func (s *Notifications) listNotifications(w http.ResponseWriter, r *http.Request) error {
	orderID, err := api.OrderID(r)
	if err != nil {
		return err
	}
	limit, err := api.Limit(r)
	if err != nil {
		return err
	}
	annotate(r.Context(), slog.String("order_id", orderID.String()))
	ctx, cancel := s.db.Limit(r.Context())
	defer cancel()
	list := []notifications.Notification{}
	err = s.db.SelectContext(ctx, &list, s.db.queries.Get("list_notifications"), orderID, limit)
	if err != nil {
		return fmt.Errorf("list notifications: %w", err)
	}
	list = slices.DeleteFunc(list, func(n notifications.Notification) bool { return !api.Sees(ctx, n.CustomerID) })
	for i := range list {
		list[i].CreatedAt = list[i].CreatedAt.UTC()
	}
	return api.Write(w, http.StatusOK, list)
}
