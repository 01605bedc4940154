package stdlib_test

import "testing"

func TestOrderAndEventStandOrFallTogether(t *testing.T) { services.OrderAndEventStandOrFallTogether(t) }

func TestConsumerRecordsEventAndNotification(t *testing.T) {
	services.ConsumerRecordsEventAndNotification(t)
}

func TestOneNotificationHoweverOftenTheMessageComes(t *testing.T) {
	services.OneNotificationHoweverOftenTheMessageComes(t)
}

func TestBadMessagesAreDeadLettered(t *testing.T) { services.BadMessagesAreDeadLettered(t) }
