package outbox

import (
	"context"

	"github.com/jmoiron/sqlx"
)

// What of the databases' differences the SQL files cannot hold.

// uuidMark is the mark of a parameter that is compared with an id.
func (o *Outbox) uuidMark() string {
	if o.dialect == PostgreSQL {
		return "?::uuid"
	}
	return "?"
}

// bucketArgs is what enqueue.sql takes beside the message itself: on SQLite,
// which has no MD5, the bucket.
func (o *Outbox) bucketArgs(m Message) []any {
	if o.dialect == SQLite {
		return []any{bucketOf(m.Key, m.ID)}
	}
	return nil
}

// plan prepares the planner for a transaction of hot statements, where the
// database needs that.
func (r *Relay) plan(ctx context.Context, tx *sqlx.Tx) error {
	if r.outbox.dialect != PostgreSQL {
		return nil
	}
	_, err := tx.ExecContext(ctx, r.sql("relay_plan"))
	return err
}
