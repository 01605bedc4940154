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
// service's. The lease manager looks for it before it takes leases.

// inspectInterval is how often schema and rights are looked at.
const inspectInterval = time.Minute

// ErrProducer means that the outbox belongs to another service than
// RelayConfig.Producer.
var ErrProducer error = health.Public("outbox of another service")

// inspect looks at schema, rights and file.
func (m *leaseManager) inspect(ctx context.Context) error {
	replaced, err := m.file.look(ctx, m.relay.store)
	if replaced {
		m.relay.startOver(ctx, m.relay.generations.now(), "the database file was replaced", true)
	}
	if err != nil {
		return err
	}
	if time.Since(m.inspected) < inspectInterval {
		return nil
	}
	if err := m.relay.gated(ctx, func() error { return m.relay.outbox.CheckSchema(ctx) }); err != nil {
		return err
	}
	if err := m.relay.checkAccess(ctx); err != nil {
		return err
	}
	m.inspected = time.Now()
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

// checkProducer makes sure that the outbox is that of the service the relay publishes
// for. The first relay that names one claims it. Where another service turns up
// before anything was published, nobody can know whose messages these are, and
// both are refused.
func (m *leaseManager) checkProducer(ctx context.Context, s sighting) error {
	mine := m.relay.cfg.Producer
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
		return m.prove(ctx)
	case row.Proven || slices.Contains(s.Rivals, row.Producer):
		return fmt.Errorf("%w: this one is of %q, and the relay publishes for %q; %s", ErrProducer, row.Producer, mine, ownOutbox)
	default:
		return m.claimOutbox(ctx, row.Producer)
	}
}

// ownOutbox is what to do where two services use one outbox.
const ownOutbox = "give each service a schema of its own (WithSchema), or see docs/operations.md if the service was renamed"

// claimOutbox claims the outbox, which is that of no service or of one that has
// gone without publishing. Others see the claim together with its relay.
func (m *leaseManager) claimOutbox(ctx context.Context, from string) error {
	sign := newToken()
	m.signs.expect(sign)
	var named []string
	err := m.relay.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := m.tellAlive(ctx, tx, sign); err != nil {
			return err
		}
		return tx.Select(ctx, &named, "lease_claim", m.relay.cfg.Producer, from)
	})
	if err != nil {
		return fmt.Errorf("claim the outbox: %w", err)
	}
	m.signs.stored(sign)
	if len(named) == 0 {
		return fmt.Errorf("%w: another service has just claimed it", ErrProducer)
	}
	return nil
}

// prove notes that this service has published, once it has.
func (m *leaseManager) prove(ctx context.Context) error {
	if m.relay.monitor.read().Published == 0 {
		return nil
	}
	if err := m.relay.exec(ctx, "lease_prove", m.relay.cfg.Producer); err != nil {
		return fmt.Errorf("claim the outbox: %w", err)
	}
	return nil
}

// signOff gives all buckets back and takes the relay off the list of the
// living, so that others do not leave a share to it. They still see for whom it
// would publish.
func (m *leaseManager) signOff(ctx context.Context) error {
	m.release(m.count())
	m.signedOff, m.renewed = true, time.Time{}
	m.signs.expect(0)
	err := m.relay.exec(ctx, "relay_standby", m.relay.cfg.Owner, hostname(), m.ttl.Milliseconds(), 0, m.relay.cfg.Producer, libraryVersion())
	if err == nil {
		m.signs.stored(0)
	}
	return err
}

// strangeSign is what another sign of life than our own means.
func (m *leaseManager) strangeSign() string {
	return fmt.Sprintf("the relay's last sign of life is not there, but an older one, or that of another relay with the name %s", m.relay.cfg.Owner)
}
