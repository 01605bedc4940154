package inbox_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// Several tenants, each with a schema, and several consumers share a database:
// each of them applies an event once, and sees its own.
func TestWithSchema(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t)
	db := openDB(t, server)
	mustExec(t, db, `CREATE TABLE effects (event_id text, tenant text); CREATE SCHEMA "Tenant A"; CREATE SCHEMA tenant_b; CREATE SCHEMA tenant_c`)
	tenants := map[string]*inbox.Inbox{}
	add := func(name, server, consumer string, opts ...inbox.Option) {
		t.Helper()
		in, err := inbox.New(openDB(t, server), consumer, opts...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		tenants[name] = in
	}
	add("a", server, "notifications", inbox.WithSchema("Tenant A"))
	add("a, another consumer", server, "billing", inbox.WithSchema("Tenant A"))
	add("b", server, "notifications", inbox.WithSchema("tenant_b"))
	add("c", withSearchPath(t, server, "tenant_c"), "notifications")
	for name, in := range tenants {
		inboxtest.DeliverTwice(t, in, func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO public.effects (event_id, tenant) VALUES ($1, $2)`, msg.ID, name)
			return err
		}, event(1))
	}
	for name, in := range tenants {
		inboxtest.RequireCount(t, db, 1, `SELECT count(*) FROM effects WHERE tenant = $1`, name)
		if n, err := in.Purge(t.Context(), 0); err != nil || n != 1 {
			t.Errorf("%s: purged %d, %v; want its own", name, n, err)
		}
	}
	inboxtest.RequireCount(t, db, 1, `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`) // effects
}

// withSearchPath returns a URL whose sessions begin with a search_path.
func withSearchPath(t *testing.T, raw, schema string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}
