package stdlib

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/asimalizada/pulse-events/examples/notifications"
)

func (s *Notifications) routes() []route {
	return []route{
		{http.MethodGet, "/notifications", s.listNotifications},
		{http.MethodGet, "/health/live", live},
		{http.MethodGet, "/health/ready", ready(s.log, s.db, s.readiness)},
	}
}

func (s *Notifications) listNotifications(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	if !query.Has("orderId") {
		return badField("orderId", "is required, as in /notifications?orderId=<uuid>")
	}
	orderID, err := parseUUID("orderId", query.Get("orderId"))
	if err != nil {
		return err
	}
	limit, err := parseLimit(r)
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
	return writeJSON(w, http.StatusOK, list)
}
