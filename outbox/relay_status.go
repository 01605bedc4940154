package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// RelayStatus is a relay as the database knows it.
type RelayStatus struct {
	Owner     string
	Host      string
	Buckets   []int     // whose leases it holds, in order
	StartedAt time.Time // when it was first seen, by the database's clock
	ExpiresAt time.Time // until when it counts as alive without another sign
	// Live: it counts now, by the database's clock. One that does not may be alive
	// and stand by, because the broker does not answer it.
	Live bool
}

// Relays returns the relays that have given a sign of life within the last
// day and were not shut down in order, by name. The error may be an ErrSchema.
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
