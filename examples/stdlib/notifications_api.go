package stdlib

import (
	"fmt"
	"log/slog"
	"net/http"

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

func (s *Notifications) ready(w http.ResponseWriter, r *http.Request) error {
	report := service.ReportConsumer(notificationsService, s.consumer.Health(), s.source)
	status, body := service.Ready(r.Context(), s.log, s.db.Database, report)
	return api.Write(w, status, body)
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
	list := []notifications.Notification{}
	err = s.db.SelectContext(r.Context(), &list, s.db.queries.Get("list_notifications"), orderID, limit)
	if err != nil {
		return fmt.Errorf("list notifications: %w", err)
	}
	for i := range list {
		list[i].CreatedAt = list[i].CreatedAt.UTC()
	}
	return api.Write(w, http.StatusOK, list)
}
