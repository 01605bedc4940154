package outbox

import (
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// A service whose URL names a search_path has its outbox there, beside one that
// WithSchema names and one in public.
func TestOutboxSearchPathInURL(t *testing.T) {
	url := testenv.Postgres(t)
	db := postgres.connect(t, url)
	db.MustExec(`CREATE SCHEMA tenant_a; CREATE SCHEMA tenant_b`)
	tenants := map[string]*Outbox{
		"public":   outboxOf(t, db),
		"tenant_a": outboxOf(t, postgres.connect(t, withParameter(t, url, "search_path", "tenant_a"))),
		"tenant_b": outboxOf(t, db, WithSchema("tenant_b")),
	}
	for name, ob := range tenants {
		if _, err := ob.Migrate(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b := &broker{}
		start(t, newRelay(t, ob, b, eager()))
		enqueue(t, ob, NewMessage(name, nil))
		eventually(t, "the message of "+name, func() bool { return b.count() == 1 })
		wantTopics(t, b.topics(), []string{name})
	}
	for schema := range tenants {
		if n := number(t, db, `SELECT count(*) FROM `+schema+`.outbox_messages`); n != 1 {
			t.Errorf("%d messages in %s, want its own", n, schema)
		}
	}
}
