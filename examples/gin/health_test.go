package gin_test

import "testing"

func TestOrdersServesWhileTheBrokerIsAway(t *testing.T) { services.OrdersServesWhileTheBrokerIsAway(t) }

func TestNotificationsServesWhileTheBrokerIsAway(t *testing.T) {
	services.NotificationsServesWhileTheBrokerIsAway(t)
}

func TestReadyTellsThatTheSchemaIsMissing(t *testing.T) { services.ReadyTellsThatTheSchemaIsMissing(t) }

func TestOrdersWaitsForAWriter(t *testing.T) { services.OrdersWaitsForAWriter(t) }

func TestOrdersRecoversFromADatabaseOutage(t *testing.T) {
	services.OrdersRecoversFromADatabaseOutage(t)
}

func TestRunFailsWithoutADatabaseItCanUse(t *testing.T) { services.RunFailsWithoutADatabaseItCanUse(t) }

func TestRunCanBeCalledOffWhileItWaitsForTheDatabase(t *testing.T) {
	services.RunCanBeCalledOffWhileItWaitsForTheDatabase(t)
}

func TestOrdersWaitForTheirAudience(t *testing.T) { services.OrdersWaitForTheirAudience(t) }
