package bench

import (
	"context"
	"errors"
	"slices"

	"github.com/jmoiron/sqlx"
)

// Enqueue is what an outbox costs those who write into it.
type Enqueue struct {
	Messages int     // of a turn
	Rate     float64 // transactions per second that write a row and enqueue a message
	Bare     float64 // transactions per second that write the row alone
	Ratio    float64 // Rate / Bare
	Batch    float64 // messages per second, a hundred in each transaction
	// BatchCost is the time of such a transaction, in transactions with one message.
	BatchCost float64
}

// batchOf is how many messages are enqueued at once.
const batchOf = 100

// MeasureEnqueue measures transactions of one client, one after another, in turns.
func MeasureEnqueue(ctx context.Context, c Config) (_ Enqueue, err error) {
	p, err := c.newPlace(ctx)
	if err != nil {
		return Enqueue{}, err
	}
	defer func() { err = errors.Join(err, p.remove(ctx)) }()
	ob, err := p.outbox(ctx)
	if err != nil {
		return Enqueue{}, err
	}
	if _, err := p.db.ExecContext(ctx, `CREATE TABLE `+p.table("orders")+` (id text NOT NULL PRIMARY KEY)`); err != nil {
		return Enqueue{}, err
	}
	insert := `INSERT INTO ` + p.table("orders") + ` (id) VALUES ($1)`
	msgs := c.messages(c.Messages)
	var bare, single, batch rates
	for round := range c.Rounds {
		if err := p.empty(ctx, "outbox_messages", "orders"); err != nil {
			return Enqueue{}, err
		}
		c.progress("round %d of %d: a row without a message", round+1, c.Rounds)
		err := bare.measure(len(msgs), func() error {
			for _, m := range msgs {
				if err := p.transact(ctx, func(tx *sqlx.Tx) error {
					_, err := tx.ExecContext(ctx, insert, m.ID.String())
					return err
				}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return Enqueue{}, err
		}
		if err := p.empty(ctx, "orders"); err != nil {
			return Enqueue{}, err
		}
		c.progress("round %d of %d: a row with a message", round+1, c.Rounds)
		err = single.measure(len(msgs), func() error {
			for _, m := range msgs {
				if err := p.transact(ctx, func(tx *sqlx.Tx) error {
					if _, err := tx.ExecContext(ctx, insert, m.ID.String()); err != nil {
						return err
					}
					return ob.Enqueue(ctx, tx, m)
				}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return Enqueue{}, err
		}
		if err := p.empty(ctx, "outbox_messages"); err != nil {
			return Enqueue{}, err
		}
		c.progress("round %d of %d: %d messages at once", round+1, c.Rounds, batchOf)
		err = batch.measure(len(msgs), func() error {
			for some := range slices.Chunk(msgs, batchOf) {
				if err := p.transact(ctx, func(tx *sqlx.Tx) error { return ob.Enqueue(ctx, tx, some...) }); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return Enqueue{}, err
		}
		if err := p.want(ctx, len(msgs), "outbox_messages", "status = 'pending'"); err != nil {
			return Enqueue{}, err
		}
	}
	return Enqueue{
		Messages: len(msgs), Rate: median(single), Bare: median(bare), Ratio: ratio(median(single), median(bare)), Batch: median(batch),
		BatchCost: ratio(median(single)*batchOf, median(batch)),
	}, nil
}
