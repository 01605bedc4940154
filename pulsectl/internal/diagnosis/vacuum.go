package diagnosis

import (
	"context"
	"fmt"
	"time"
)

// vacuum reports what makes the tables grow although rows are deleted.
func (l look) vacuum(ctx context.Context) {
	check := l.check("vacuum")
	var on struct {
		Autovacuum, Counts string
	}
	if err := l.DB.GetContext(ctx, &on, `SELECT current_setting('autovacuum') AS autovacuum, current_setting('track_counts') AS counts`); err != nil {
		l.unseen(check, err)
		return
	}
	if on.Autovacuum == "off" || on.Counts == "off" {
		l.fail(check, "run: ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf()",
			"autovacuum is off: the tables grow without end (autovacuum %s, track_counts %s)", on.Autovacuum, on.Counts)
	}
	for _, table := range l.Tables {
		var t tableState
		err := l.DB.GetContext(ctx, &t, `SELECT c.relname AS name, pg_table_size(c.oid) AS size, coalesce(s.n_live_tup, 0) AS live, coalesce(s.n_dead_tup, 0) AS dead,
			greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed,
			coalesce((SELECT sum(avg_width) FROM pg_stats WHERE schemaname = n.nspname AND tablename = c.relname), 0) AS width,
			coalesce((SELECT option_value::boolean FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_enabled'), true) AS enabled
			FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables AS s ON s.relid = c.oid
			WHERE c.oid = to_regclass($1)`, table)
		if err != nil {
			l.unseen(check, err)
			continue
		}
		if state, detail, hint := t.judge(); state != OK {
			l.add(check, state, hint, detail)
		} else if table == l.Tables[0] && !l.has(check) {
			l.ok(check, "%s", detail)
		}
	}
}

// tableState is how a table is, by the statistics of the server.
type tableState struct {
	Name       string
	Size       int64 // with TOAST, without indexes
	Live, Dead int64 // rows
	Width      int64 // average, of the columns; 0: not known
	Vacuumed   *time.Time
	Enabled    bool
}

const (
	manyDead  = 50_000
	largeSize = 256 << 20
	rowHeader = 28
	bloated   = 5 // times the size that the rows need
)

func (t tableState) judge() (state State, detail, hint string) {
	vacuumed := "never vacuumed"
	if t.Vacuumed != nil {
		vacuumed = "vacuumed " + short(time.Since(*t.Vacuumed)) + " ago"
	}
	detail = fmt.Sprintf("%s: %s, about %d rows and %d dead ones, %s", t.Name, bytes(t.Size), t.Live, t.Dead, vacuumed)
	need := t.Live * (t.Width + rowHeader)
	switch {
	case !t.Enabled:
		return Fail, "autovacuum is off for " + detail, "run: ALTER TABLE " + t.Name + " RESET (autovacuum_enabled)"
	case t.Dead > manyDead && t.Dead > t.Live:
		return Warn, "more dead rows than live ones in " + detail, "look for what holds back vacuuming (snapshots, slots), then run: VACUUM " + t.Name
	case t.Width > 0 && t.Size > largeSize && t.Size > bloated*need:
		return Warn, fmt.Sprintf("%s is %d times as large as its rows; ", t.Name, t.Size/max(need, 1)) + detail,
			"plain vacuuming reuses the space; to give it back, while nothing uses the table: VACUUM FULL " + t.Name + ", or pg_repack"
	}
	return OK, detail, ""
}

// snapshots reports transactions that are older than they should be: vacuuming
// keeps every row that one of them might see.
func (l look) snapshots(ctx context.Context) {
	check := l.check("snapshots")
	var old []struct {
		What, Who string
		Age       float64
		End       string
	}
	err := l.DB.SelectContext(ctx, &old, `SELECT concat_ws(' ', 'session', pid, nullif(application_name, ''), '(' || coalesce(state, backend_type) || ')') AS what,
			coalesce(usename, '') AS who, extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age, 'SELECT pg_terminate_backend(' || pid || ')' AS end
		FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND (datname = current_database() OR datname IS NULL)
			AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND clock_timestamp() - xact_start > make_interval(secs => $1)
			AND backend_type <> 'autovacuum worker'
		UNION ALL SELECT 'prepared transaction ' || gid, owner, extract(epoch FROM clock_timestamp() - prepared)::float8, 'ROLLBACK PREPARED ' || quote_literal(gid)
		FROM pg_prepared_xacts WHERE database = current_database() AND clock_timestamp() - prepared > make_interval(secs => $1)
		ORDER BY age DESC LIMIT 5`, l.o.OldSnapshot.Seconds())
	if err != nil {
		l.unseen(check, err)
		return
	}
	for _, s := range old {
		l.warn(check, "if nobody needs it: "+s.End, "%s of %s has been open for %s: vacuuming keeps all rows that have been deleted since",
			s.What, s.Who, short(time.Duration(s.Age*float64(time.Second))))
	}
	var who struct {
		Role string
		Sees bool
	}
	err = l.DB.GetContext(ctx, &who, `SELECT current_user AS role, rolsuper OR pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees FROM pg_roles WHERE rolname = current_user`)
	switch {
	case err != nil:
		l.unseen(check, err)
	case !who.Sees:
		l.Unknown(check, "run: GRANT pg_read_all_stats TO "+who.Role, "role %s sees its own sessions only, not how old those of others are", who.Role)
	case len(old) == 0:
		l.ok(check, "no transaction is older than %s", l.o.OldSnapshot)
	}
}

// retainedLimit is how much log a slot may keep that has no client.
const retainedLimit = 1 << 30

// slots reports replication slots that keep rows or write-ahead log for nobody.
func (l look) slots(ctx context.Context) {
	check := l.check("slots")
	var slots []struct {
		Name, Kind, Xmin, Status string
		Active                   bool
		Retained                 int64
	}
	err := l.DB.SelectContext(ctx, &slots, `SELECT slot_name AS name, slot_type AS kind, active, coalesce(xmin::text, '') AS xmin, coalesce(wal_status, '') AS status,
		coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn), 0)::bigint AS retained
		FROM pg_replication_slots WHERE NOT temporary ORDER BY slot_name`)
	if err != nil {
		l.unseen(check, err)
		return
	}
	active := 0
	for _, s := range slots {
		drop := "if nothing uses it any more: SELECT pg_drop_replication_slot('" + s.Name + "')"
		switch {
		case s.Status == "lost" || s.Status == "unreserved":
			l.warn(check, drop, "replication slot %s (%s) has lost the log it needs", s.Name, s.Kind)
		case s.Active:
			active++
		case s.Xmin != "":
			l.warn(check, drop, "nobody uses the replication slot %s (%s), and it holds back vacuuming; it keeps %s of log", s.Name, s.Kind, bytes(s.Retained))
		case s.Retained > retainedLimit:
			l.warn(check, drop, "nobody uses the replication slot %s (%s), and it keeps %s of log", s.Name, s.Kind, bytes(s.Retained))
		default:
			l.warn(check, drop, "nobody uses the replication slot %s (%s): it will keep ever more log, until the disk is full", s.Name, s.Kind)
		}
	}
	if active == len(slots) {
		l.ok(check, "%d replication slots, all in use", active)
	}
}
