package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// RelayStatus is a relay as recorded in the database.
type RelayStatus struct {
	Owner     string
	Host      string
	Buckets   []int     // of its leases, in order
	StartedAt time.Time // by the database's clock
	ExpiresAt time.Time // when it no longer counts as live unless it renews
	// Live reports whether it takes its share of the buckets. A relay that is not
	// live may be running and stand by, because it does not reach the broker, or
	// drain.
	Live bool
}

// Relays returns the relays of this outbox that have renewed within the last day
// and have not been stopped, by name. The error may be ErrSchema. The type Relays is
// something else: it runs relays.
func (o *Outbox) Relays(ctx context.Context) ([]RelayStatus, error) {
	var rows []struct {
		Owner     string        `db:"owner"`
		Host      string        `db:"host"`
		Buckets   string        `db:"buckets"`
		StartedAt sqldb.Instant `db:"started_at"`
		ExpiresAt sqldb.Instant `db:"expires_at"`
		Live      bool          `db:"live"`
	}
	err := o.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return tx.Select(ctx, &rows, "relay_list") })
	if err != nil {
		return nil, fmt.Errorf("outbox: relays: %w", sqldb.Explain(err))
	}
	relays := make([]RelayStatus, len(rows))
	for i, row := range rows {
		relays[i] = RelayStatus{
			Owner: row.Owner, Host: row.Host, Live: row.Live,
			StartedAt: row.StartedAt.Time, ExpiresAt: row.ExpiresAt.Time,
		}
		if err := json.Unmarshal([]byte(row.Buckets), &relays[i].Buckets); err != nil {
			return nil, fmt.Errorf("outbox: relays: buckets of %s: %w", row.Owner, err)
		}
	}
	return relays, nil
}
