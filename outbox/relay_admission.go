package outbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/asimalizada/pulse-events/internal/health"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// What may keep a relay from its work without any statement failing: a schema
// of another version, policies that hide rows, an outbox that is another
// service's. The keeper looks for it before it takes leases.

// inspectInterval is how often schema and rights are looked at.
const inspectInterval = time.Minute

// ErrProducer says that the outbox belongs to another service than the one a relay
// publishes for.
var ErrProducer error = health.Public("outbox of another service")

// inspect looks at schema, rights and file.
func (k *keeper) inspect(ctx context.Context) error {
	replaced, err := k.file.look(ctx, k.relay.store)
	if replaced {
		k.relay.startOver(ctx, k.relay.generations.now(), "the database file was replaced", true)
	}
	if err != nil {
		return err
	}
	if time.Since(k.inspected) < inspectInterval {
		return nil
	}
	if err := k.relay.gated(ctx, func() error { return k.relay.outbox.CheckSchema(ctx) }); err != nil {
		return err
	}
	if err := k.relay.checkAccess(ctx); err != nil {
		return err
	}
	k.inspected = time.Now()
	return nil
}

// errHidden, for strangers: what keeps a relay from rows without an error.
const errHidden = health.Public("row-level security may hide rows")

// access is what access.sql finds.
type access struct {
	Hidden string `db:"hidden"`
	Role   string `db:"role"`
}

// checkAccess returns what keeps the role from rows without an error.
func (r *Relay) checkAccess(ctx context.Context) error {
	if r.outbox.dialect != sqldb.PostgreSQL {
		return nil
	}
	var a access
	if err := r.read(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return tx.Get(ctx, &a, "access") }); err != nil {
		return fmt.Errorf("look at rights: %w", err)
	}
	if a.Hidden != "" {
		return fmt.Errorf("%w of %s from role %s; give it BYPASSRLS, or a policy FOR ALL TO %s USING (true)", errHidden, a.Hidden, a.Role, a.Role)
	}
	return nil
}

// claim makes sure that the outbox is that of the service the relay publishes
// for. The first relay that names one claims it. Where another service turns up
// before anything was published, nobody can know whose messages these are, and
// both are refused.
func (k *keeper) claim(ctx context.Context, s sighting) error {
	mine := k.relay.cfg.Producer
	if mine == "" {
		return nil
	}
	i := slices.IndexFunc(s.Leases, func(row leaseRow) bool { return row.Bucket == 0 })
	switch row := s.Leases[i]; {
	case row.Producer == mine && row.Proven:
		return nil
	case row.Producer == mine && len(s.Rivals) > 0:
		return fmt.Errorf("%w, perhaps: nothing was published from it yet, and relays would publish for %q and for %q; %s",
			ErrProducer, mine, s.Rivals, ownOutbox)
	case row.Producer == mine:
		return k.prove(ctx)
	case row.Proven || slices.Contains(s.Rivals, row.Producer):
		return fmt.Errorf("%w: this one is of %q, and the relay publishes for %q; %s", ErrProducer, row.Producer, mine, ownOutbox)
	default:
		return k.takeOutbox(ctx, row.Producer)
	}
}

// ownOutbox is what to do where two services use one outbox.
const ownOutbox = "give each service a schema of its own (WithSchema), or see docs/operations.md if the service was renamed"

// takeOutbox claims the outbox, which is that of no service or of one that has
// gone without publishing. Others see the claim together with its relay.
func (k *keeper) takeOutbox(ctx context.Context, from string) error {
	sign := newToken()
	var named []string
	err := k.relay.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := k.tellAlive(ctx, tx, sign); err != nil {
			return err
		}
		return tx.Select(ctx, &named, "lease_claim", k.relay.cfg.Producer, from)
	})
	k.signs.store(sign, err)
	switch {
	case err != nil:
		return fmt.Errorf("claim the outbox: %w", err)
	case len(named) == 0:
		return fmt.Errorf("%w: another service has just claimed it", ErrProducer)
	}
	return nil
}

// prove notes that this service has published, once it has.
func (k *keeper) prove(ctx context.Context) error {
	if k.relay.monitor.read().Published == 0 {
		return nil
	}
	if err := k.relay.exec(ctx, "lease_prove", k.relay.cfg.Producer); err != nil {
		return fmt.Errorf("claim the outbox: %w", err)
	}
	return nil
}

// signOff gives all buckets back and takes the relay off the list of the
// living, so that others do not leave a share to it. They still see for whom it
// would publish.
func (k *keeper) signOff(ctx context.Context) error {
	k.release(k.count())
	k.signedOff, k.renewed = true, time.Time{}
	err := k.relay.exec(ctx, "relay_standby", k.relay.cfg.Owner, hostname(), k.ttl.Milliseconds(), 0, k.relay.cfg.Producer)
	k.signs.store(0, err)
	return err
}

// strangeSign is what another sign of life than our own means.
func (k *keeper) strangeSign() string {
	return fmt.Sprintf("the relay's last sign of life is not there, but an older one, or that of another relay with the name %s", k.relay.cfg.Owner)
}
