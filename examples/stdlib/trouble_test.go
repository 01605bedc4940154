package stdlib_test

import "testing"

func TestOrdersTellsDatabaseTroubleFromDefects(t *testing.T) {
	services.OrdersTellsDatabaseTroubleFromDefects(t)
}

func TestNotificationsHoldsWhileTheDatabaseRefuses(t *testing.T) {
	services.NotificationsHoldsWhileTheDatabaseRefuses(t)
}

func TestRequestsEndSoonWhenTheDatabaseIsCutOff(t *testing.T) {
	services.RequestsEndSoonWhenTheDatabaseIsCutOff(t)
}

func TestAClientThatHangsUpIsNoError(t *testing.T) { services.AClientThatHangsUpIsNoError(t) }

func TestWebPagesCannotUseIt(t *testing.T) { services.WebPagesCannotUseIt(t) }

func TestHealthTellsNoNames(t *testing.T) { services.HealthTellsNoNames(t) }

func TestRollingRestartHasNoError(t *testing.T) { services.RollingRestartHasNoError(t) }
