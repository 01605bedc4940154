package inbox

import (
	"context"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// The table inbox_attempts keeps starts apart from finishes, each start
// committed by itself, so that a message which takes the process down leaves a
// trace. The idea is pg-transactional-outbox's.

// start notes the start of a message. first is false when an earlier start was
// not finished; then nothing is noted.
func (in *Inbox) start(ctx context.Context, id string) (first bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, in.statementTimeout)
	defer cancel()
	result, err := in.db.ExecContext(ctx, in.queries.Get("start"), in.consumer, id)
	if err != nil {
		return false, &txError{phase: beginning, err: sqldb.Schema(err)}
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, &txError{phase: beginning, err: err}
	}
	return n == 1, nil
}

// restart notes one more start and returns how many are unfinished with it.
func (in *Inbox) restart(ctx context.Context, id string) (starts int, err error) {
	ctx, cancel := context.WithTimeout(ctx, in.statementTimeout)
	defer cancel()
	if err := in.db.GetContext(ctx, &starts, in.queries.Get("restart"), in.consumer, id); err != nil {
		return 0, &txError{phase: beginning, err: sqldb.Schema(err)}
	}
	return starts, nil
}

// lookUp returns the hashes of those ids that were applied.
func (in *Inbox) lookUp(ctx context.Context, ids []string) (map[string][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, in.statementTimeout)
	defer cancel()
	return in.hashes(ctx, in.db, ids)
}
