package inbox

import (
	"context"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// purgeChunk is how many rows one statement of Purge deletes: short enough
// that nobody waits for its locks.
const purgeChunk = 5000

// Purge forgets what this consumer applied longer than olderThan ago, by the
// database's clock, and returns how many events that were. A copy that comes
// later is applied again. Noted starts of that age go too. It works in chunks,
// each a transaction of its own, so a ctx that ends leaves done what is done.
// Any number of instances may purge at once.
func (in *Inbox) Purge(ctx context.Context, olderThan time.Duration) (n int64, err error) {
	return in.purge(ctx, olderThan, func(time.Duration) {})
}

// purge is Purge. after is called after each chunk that others follow, with what that took.
func (in *Inbox) purge(ctx context.Context, olderThan time.Duration, after func(took time.Duration)) (n int64, err error) {
	if olderThan < 0 {
		return 0, fmt.Errorf("inbox: purge: olderThan: %v; must not be negative", olderThan)
	}
	for {
		began := time.Now()
		deleted, err := in.delete(ctx, "purge", in.consumer, olderThan.Seconds(), purgeChunk)
		if err != nil {
			return n, fmt.Errorf("inbox: purge: %w", err)
		}
		n += deleted
		if deleted < purgeChunk {
			break
		}
		after(time.Since(began))
	}
	if _, err := in.delete(ctx, "purge_attempts", in.consumer, olderThan.Seconds()); err != nil {
		return n, fmt.Errorf("inbox: purge starts: %w", err)
	}
	return n, nil
}

// delete runs one statement of the purge, no longer than the database may take
// to answer.
func (in *Inbox) delete(ctx context.Context, name string, args ...any) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, in.statementTimeout)
	defer cancel()
	err = in.store.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		result, err := tx.Exec(ctx, name, args...)
		if err == nil {
			n, err = result.RowsAffected()
		}
		return err
	})
	return n, in.store.Failed(err)
}

// overdue returns for how long the oldest event has been older than the retention;
// 0: it is not.
func (in *Inbox) overdue(ctx context.Context, retention time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, in.statementTimeout)
	defer cancel()
	var age float64
	err := in.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return tx.Get(ctx, &age, "oldest", in.consumer) })
	if err != nil {
		return 0, fmt.Errorf("inbox: oldest event: %w", in.store.Failed(err))
	}
	return max(0, time.Duration(age*float64(time.Second))-retention), nil
}
