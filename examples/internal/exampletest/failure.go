package exampletest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// RetryDelays are those of tests that wait for a retry.
var RetryDelays = []time.Duration{100 * time.Millisecond}

// EventsOutliveFailedTransactions tests that a transaction of the consumer that comes to
// nothing, however late, leaves no trace and loses no event.
func (k Stack) EventsOutliveFailedTransactions(t *testing.T) {
	// A sequence counts on when its transaction is rolled back.
	const failThrice = `
		CREATE SEQUENCE tries;
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('tries') <= 3 THEN RAISE 'refused' USING ERRCODE = '%s'; END IF;
			RETURN NULL;
		END $$;
		CREATE %s TRIGGER refuse AFTER INSERT ON notifications %s FOR EACH ROW EXECUTE FUNCTION refuse()`
	inTheMiddle, atCommit := []any{"", ""}, []any{"CONSTRAINT", "DEFERRABLE INITIALLY DEFERRED"}
	for _, c := range []struct {
		about, state string
		when         []any
		retried      int
	}{
		{"deadlock", "40P01", inTheMiddle, 0},
		{"serialization failure at commit", "40001", atCommit, 0},
		{"another error", "P0001", inTheMiddle, 3},
		{"another error at commit", "P0001", atCommit, 3},
	} {
		t.Run(c.about, func(t *testing.T) {
			on := Servers
			on.Broker = Bare.Broker
			s := k.start(t, on)
			Execute(t, s.notificationsDB, fmt.Sprintf(failThrice, slices.Concat([]any{c.state}, c.when)...))
			p := s.order(t)
			s.awaitNotification(t, p.OrderID)
			testenv.Eventually(t, Patience, "the message to be settled", func() bool { return s.consumer(t).Applied == 1 })
			if h := s.consumer(t); h.Retried != c.retried || h.DeadLettered != 0 {
				t.Errorf("retried %d times and dead-lettered %d, want %d and none", h.Retried, h.DeadLettered, c.retried)
			}
			if n, e := Count(t, s.notificationsDB, "notifications"), Count(t, s.notificationsDB, "processed_events"); n != 1 || e != 1 {
				t.Errorf("%d notifications and %d processed events, want one each", n, e)
			}
		})
	}
	t.Run("commit refused on SQLite", func(t *testing.T) {
		s := k.start(t, Bare)
		Execute(t, s.notificationsDB, `CREATE TABLE refusals (n text REFERENCES notifications (id) DEFERRABLE INITIALLY DEFERRED);
			CREATE TRIGGER refuse AFTER INSERT ON notifications BEGIN INSERT INTO refusals VALUES ('none'); END`)
		p := s.order(t)
		testenv.Eventually(t, Patience, "a retry", func() bool { return s.consumer(t).Retried > 0 })
		if n := Count(t, s.notificationsDB, "processed_events"); n != 0 {
			t.Errorf("%d processed events while no commit succeeds", n)
		}
		Execute(t, s.notificationsDB, `DROP TRIGGER refuse`)
		s.awaitNotification(t, p.OrderID)
	})
}

// OldEventsAreForgotten tests that what was applied longer ago than the retention is
// purged, and nothing else.
func (k Stack) OldEventsAreForgotten(t *testing.T) {
	OnEachPlatform(t, func(t *testing.T, on Platform) {
		s := k.start(t, on)
		old, young := s.order(t), s.order(t)
		for _, p := range []Placed{old, young} {
			s.awaitNotification(t, p.OrderID)
		}
		s.stopNotifications()
		ages := map[string]time.Duration{old.EventID: 31 * 24 * time.Hour, young.EventID: 29 * 24 * time.Hour}
		for id, age := range ages {
			at := sqlstore.TimeArg(Dialect(t, s.notificationsDB), time.Now().Add(-age))
			if _, err := s.notificationsDB.ExecContext(t.Context(), `UPDATE processed_events SET processed_at = $1 WHERE event_id = $2`, at, id); err != nil {
				t.Fatal(err)
			}
		}
		s.startNotifications(t)
		testenv.Eventually(t, Patience, "the purge", func() bool {
			return Count(t, s.notificationsDB, `processed_events WHERE event_id = $1`, old.EventID) == 0
		})
		if Count(t, s.notificationsDB, `processed_events WHERE event_id = $1`, young.EventID) != 1 {
			t.Error("a younger event is forgotten as well")
		}
	})
}

// NotificationsRecoversFromADatabaseOutage tests that events wait for the database, and
// that counts as no failure of theirs.
func (k Stack) NotificationsRecoversFromADatabaseOutage(t *testing.T) {
	server := testenv.PostgresServer(t)
	on := Bare
	databases := []string{server.URL(), Bare.Database(t)} // of notifications, which is started first, and of orders
	on.Database = func(testing.TB) string {
		url := databases[0]
		databases = databases[1:]
		return url
	}
	s := k.start(t, on)
	server.StopImmediate()
	p := s.order(t)
	testenv.Eventually(t, Patience, "the consumer to wait for the database", func() bool { return s.consumer(t).State == "degraded" })
	server.Start()
	s.awaitNotification(t, p.OrderID)
	testenv.Eventually(t, Patience, "the message to be settled", func() bool { return s.consumer(t).Applied == 1 })
	if h := s.consumer(t); h.Retried != 0 || h.DeadLettered != 0 || h.State != "running" {
		t.Errorf("consumer %+v, want it running without a retry", h)
	}
}
