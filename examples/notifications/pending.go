package notifications

import (
	"context"
	"fmt"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/pending"
)

// Check returns a function that tells why a consumer with these settings would
// dead-letter a message: it breaks its contract, or is no OrderCreated as this version
// of the service reads it. Nothing is handled.
func Check(cfg inbox.ConsumerConfig) pending.Check {
	return func(ctx context.Context, msg inbox.Message) error {
		if err := cfg.Check(ctx, nil, msg); err != nil {
			return err
		}
		_, err := DecodeOrderCreated(msg)
		return err
	}
}

// Pending lists the messages that wait in the queues of a source and that check has
// something against. Nothing is consumed or changed.
func Pending(ctx context.Context, source rabbitmq.SourceConfig, check pending.Check) (report pending.Report, err error) {
	inspector, err := rabbitmq.OpenInspector(ctx, source)
	if err != nil {
		return report, fmt.Errorf("notifications: %w", err)
	}
	defer inspector.Close()
	err = report.Queues(ctx, inspector, rabbitmq.QueueNames(source.Queue, source.RetryDelays), check)
	report.Done()
	return report, err
}
