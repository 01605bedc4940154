package stdlib_test

import "testing"

func TestEventsOutliveFailedTransactions(t *testing.T) { services.EventsOutliveFailedTransactions(t) }

func TestNotificationsRecoversFromADatabaseOutage(t *testing.T) {
	services.NotificationsRecoversFromADatabaseOutage(t)
}

func TestOldEventsAreForgotten(t *testing.T) { services.OldEventsAreForgotten(t) }
