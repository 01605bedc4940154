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
	// SignedAt is when it gave its last sign of life, by the database's clock.
	SignedAt time.Time
	// Silent reports that the last sign of life is older than the relay's LeaseTTL: it was
	// killed, or is cut off from the database.
	Silent bool
	// HeldSince is when it took the last of its buckets; zero: it holds none, or does
	// not tell.
	HeldSince time.Time
	// Version is that of its library, or "devel"; empty: of a former version, which does
	// not tell.
	Version string
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
		SignedAt  sqldb.Instant `db:"signed_at"`
		Silent    bool          `db:"silent"`
		HeldSince sqldb.Instant `db:"held_since"`
		Version   string        `db:"version"`
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
			SignedAt: row.SignedAt.Time, Silent: row.Silent, HeldSince: row.HeldSince.Time, Version: row.Version,
		}
		if err := json.Unmarshal([]byte(row.Buckets), &relays[i].Buckets); err != nil {
			return nil, fmt.Errorf("outbox: relays: buckets of %s: %w", row.Owner, err)
		}
	}
	return relays, nil
}
