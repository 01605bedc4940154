package gin_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/examples/gin"
	"github.com/asimalizada/pulse-events/examples/internal/exampletest"
	"github.com/asimalizada/pulse-events/examples/internal/service"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// services are this stack's.
var services = exampletest.Stack{
	Orders: func(s service.Settings) (exampletest.Service, error) {
		return gin.NewOrders(gin.OrdersConfig{Settings: s})
	},
	Notifications: func(s service.Settings, queue string) (exampletest.Service, error) {
		return gin.NewNotifications(gin.NotificationsConfig{Settings: s, Queue: queue, RetryDelays: exampletest.RetryDelays})
	},
}
