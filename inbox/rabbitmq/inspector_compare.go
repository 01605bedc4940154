package rabbitmq

import (
	"context"
	"errors"

	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// QueueReport is how a queue of a source is, compared with how a Source would
// declare it.
type QueueReport struct {
	Queue       Queue // as it would be declared; of the type that it has
	Missing     bool  // there is no such queue
	Differences []QueueDifference
}

// QueueDifference is an argument that is not as a Source would declare it. What a
// policy sets does not show.
type QueueDifference struct {
	Argument   string
	Want, Have any    // string, bool or int64; nil: not set
	Text       string // of both values
	Means      string // what follows
	// Harmful: messages would stay in the queue for ever or be lost. A Source
	// does not use it.
	Harmful bool
}

// CompareQueues compares the queues with what a Source with this configuration
// would declare, except that a queue may be of the other type. It creates
// nothing: it asks by declarations that the broker refuses, and logs. The error
// matches ErrAccess for a user without the configure permission, who cannot ask.
func (i *Inspector) CompareQueues(ctx context.Context, cfg SourceConfig) ([]QueueReport, error) {
	cfg = cfg.withDefaults()
	if err := cfg.problems(); err != nil {
		return nil, err
	}
	if cfg.QueueType == Quorum {
		if _, there, err := i.inspect(ctx, cfg.Queue); err != nil {
			return nil, err
		} else if there {
			quorum, err := i.isQuorum(ctx, cfg.Queue)
			if err != nil {
				return nil, err
			}
			if !quorum {
				cfg.QueueType = Classic
			}
		}
	}
	var reports []QueueReport
	for _, q := range newLayout(cfg, limitsDeliveries(i.conn.Properties)).Queues {
		report := QueueReport{Queue: q}
		differences, err := i.conn.CompareQueue(ctx, rabbit.Queue{Name: q.Name, Args: q.Arguments})
		switch {
		case errors.Is(err, rabbit.ErrTopology) && !errors.Is(err, rabbit.ErrAccess):
			report.Missing = true
		case err != nil:
			return nil, err
		}
		for _, d := range differences {
			all := QueueDifference{Argument: d.Argument, Want: d.Want, Have: d.Have, Text: d.String(), Means: unusable(Verify, q, d)}
			if all.Harmful = all.Means != ""; !all.Harmful {
				all.Means = meaning(q.kind, d)
			}
			report.Differences = append(report.Differences, all)
		}
		reports = append(reports, report)
	}
	return reports, nil
}
