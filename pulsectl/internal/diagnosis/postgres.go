package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/internal/postgres"
)

func (l look) version(ctx context.Context) {
	var v struct {
		Number int
		Text   string
	}
	check := l.check("version")
	err := l.DB.GetContext(ctx, &v, `SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS text`)
	switch {
	case err != nil:
		l.unseen(check, err)
	case v.Number < 130000:
		l.fail(check, "upgrade to PostgreSQL 13 or later", "PostgreSQL %s is not supported", v.Text)
	default:
		l.ok(check, "PostgreSQL %s", v.Text)
	}
}

// rights is what a role may do with one table.
type rights struct {
	Role    string `db:"role"`
	Super   bool   `db:"super"`
	Usage   bool   `db:"usage"` // of the schema
	Schema  string `db:"schema_name"`
	Table   string `db:"table_name"`
	Granted string `db:"granted"` // such as SELECT,INSERT
}

// rolesInUse selects the roles that are connected to the database, and pulsectl's
// own; rolesConcerned also those that own the table $1 or are granted a right on
// it.
const (
	rolesInUse = `SELECT usesysid AS oid FROM pg_stat_activity WHERE datname = current_database() AND usesysid IS NOT NULL
	UNION SELECT oid FROM pg_roles WHERE rolname = current_user`
	rolesConcerned = rolesInUse + `
	UNION SELECT a.grantee FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.oid = to_regclass($1) AND a.grantee <> 0
	UNION SELECT relowner FROM pg_class WHERE oid = to_regclass($1)`
)

// rightsQuery leaves out groups: the logins that are in one have its rights. Of what
// was applied a consumer only locks rows, for which UPDATE on some column is enough.
const rightsQuery = `WITH roles AS (` + rolesConcerned + `)
SELECT r.rolname AS role, r.rolsuper AS super, has_schema_privilege(r.oid, n.oid, 'USAGE') AS usage, n.nspname AS schema_name, c.relname AS table_name,
	concat_ws(',', CASE WHEN has_table_privilege(r.oid, c.oid, 'SELECT') THEN 'SELECT' END, CASE WHEN has_table_privilege(r.oid, c.oid, 'INSERT') THEN 'INSERT' END,
		CASE WHEN has_table_privilege(r.oid, c.oid, 'UPDATE') OR t.name = 'processed_events' AND has_any_column_privilege(r.oid, c.oid, 'UPDATE') THEN 'UPDATE' END,
		CASE WHEN has_table_privilege(r.oid, c.oid, 'DELETE') THEN 'DELETE' END) AS granted
FROM roles JOIN pg_roles AS r ON r.oid = roles.oid, unnest($2::text[]) AS t(name) JOIN pg_class AS c ON c.oid = to_regclass(t.name)
	JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE r.rolcanlogin
ORDER BY r.rolname, c.relname`

func (l look) privileges(ctx context.Context) {
	var rows []rights
	check := l.check("privileges")
	onlyRead := append(slices.Clone(l.ReadTables), l.VersionTable)
	names := append(slices.Clone(l.Tables), onlyRead...)
	if err := l.DB.SelectContext(ctx, &rows, rightsQuery, l.Tables[0], "{"+strings.Join(names, ",")+"}"); err != nil {
		l.unseen(check, err)
		return
	}
	byRole := map[string][]rights{}
	var order []string
	for _, row := range rows {
		if byRole[row.Role] == nil {
			order = append(order, row.Role)
		}
		byRole[row.Role] = append(byRole[row.Role], row)
	}
	var fine []string
	for _, role := range order {
		summary, missing, grant := judgeRights(byRole[role], onlyRead...)
		switch {
		case missing != "":
			l.fail(check, grant, "role %s lacks %s", role, missing)
		case summary != "":
			fine = append(fine, role+" "+summary)
		}
	}
	switch {
	case len(fine) > 0:
		l.ok(check, "%s", listed(fine))
	case !l.has(check):
		l.warn(check, "see docs/operations.md, Where the tables are, and who may use them", "no role that is connected may use the tables")
	}
}

// judgeRights returns what a role may do, if that is of use, or else what it lacks
// and the statements that grant it. A role that may neither update nor delete is
// taken for one that only enqueues or reads; one without any right for another
// program's.
func judgeRights(tables []rights, onlyRead ...string) (summary, missing, grant string) {
	all, some, changes, inserts := true, false, false, false
	var lacks, grants []string
	for _, t := range tables {
		want := []string{"SELECT", "INSERT", "UPDATE", "DELETE"}
		if slices.Contains(onlyRead, t.Table) {
			want = want[:1]
		}
		var not []string
		for _, privilege := range want {
			if !slices.Contains(strings.Split(t.Granted, ","), privilege) {
				not = append(not, privilege)
			}
		}
		some = some || t.Granted != ""
		changes = changes || strings.Contains(t.Granted, "UPDATE") || strings.Contains(t.Granted, "DELETE")
		inserts = inserts || strings.Contains(t.Granted, "INSERT")
		if len(not) > 0 {
			all = false
			lacks = append(lacks, strings.Join(not, ", ")+" on "+t.Table)
			grants = append(grants, fmt.Sprintf("GRANT %s ON %s.%s TO %s", strings.Join(not, ", "), t.Schema, t.Table, t.Role))
		}
	}
	first := tables[0]
	switch {
	case first.Super:
		return "(superuser)", "", ""
	case !some:
		return "", "", ""
	case !first.Usage:
		return "", "USAGE on schema " + first.Schema, fmt.Sprintf("run: GRANT USAGE ON SCHEMA %s TO %s", first.Schema, first.Role)
	case all:
		return "(all)", "", ""
	case !changes && inserts:
		return "(may only insert)", "", ""
	case !changes:
		return "(may only read)", "", ""
	}
	return "", strings.Join(lacks, "; "), "run: " + strings.Join(grants, "; ")
}

// pooler reports a connection pooler in front of the server.
func (l look) pooler(ctx context.Context) {
	check := l.check("pooler")
	switch pooled, err := postgres.BehindPooler(ctx, l.DB); {
	case err != nil:
		l.unseen(check, err)
	case pooled:
		l.warn(check, "see docs/operations.md, Behind PgBouncer: in transaction mode a service that does not open its database with outbox/postgres needs default_query_exec_mode=exec",
			"a connection pooler such as PgBouncer answers in place of the server")
	default:
		l.ok(check, "none: the server itself answers")
	}
}

// sameServer reports whether the other side's database is on this server.
func (l look) sameServer(ctx context.Context) bool {
	err := l.DB.GetContext(ctx, &l.server, `SELECT concat_ws('/', pg_postmaster_start_time(), current_setting('port'), current_setting('cluster_name'))`)
	return err == nil && l.Other != nil && l.Other.server == l.server
}

// connections compares what relays and consumers need with what the server and
// the roles allow.
func (l look) connections(ctx context.Context) {
	var c struct {
		Allowed  int
		Used     int
		Database int
		Role     int
		RoleName string `db:"role_name"`
	}
	check := l.check("connections")
	err := l.DB.GetContext(ctx, &c, `SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS allowed,
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
		(SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database,
		coalesce(least.rolconnlimit, -1) AS role, coalesce(least.rolname, '') AS role_name
		FROM (SELECT 1) AS one LEFT JOIN (SELECT rolname, rolconnlimit FROM pg_roles WHERE rolconnlimit >= 0 AND oid IN (`+rolesInUse+`)
			ORDER BY rolconnlimit LIMIT 1) AS least ON true`)
	if err != nil {
		l.unseen(check, err)
		return
	}
	need := fmt.Sprintf("%d are needed (%s)", l.Connections, l.Need)
	switch {
	case c.Role >= 0 && c.Role < l.Connections:
		l.warn(check, fmt.Sprintf("run: ALTER ROLE %s CONNECTION LIMIT %d", c.RoleName, l.Connections), "role %s may have %d connections, and %s", c.RoleName, c.Role, need)
	case c.Database >= 0 && c.Database < l.Connections:
		l.warn(check, "run: ALTER DATABASE ... CONNECTION LIMIT", "the database may have %d connections, and %s", c.Database, need)
	case c.Allowed < l.Connections:
		l.warn(check, "raise max_connections, or lower Lanes, Workers and the pools", "the server takes %d connections, and %s", c.Allowed, need)
	case c.Used*10 >= c.Allowed*9:
		l.warn(check, "find who has them: SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2 ORDER BY 3 DESC", "%d of %d connections are in use", c.Used, c.Allowed)
	default:
		l.ok(check, "%d of %d are in use, %s", c.Used, c.Allowed, need)
	}
}

// commit reports settings with which a crash loses what was committed.
func (l look) commit(ctx context.Context) {
	check := l.check("commit")
	var s struct{ Fsync, Pages, Commit string }
	err := l.DB.GetContext(ctx, &s, `SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS pages, current_setting('synchronous_commit') AS commit`)
	if err != nil {
		l.unseen(check, err)
		return
	}
	var lax []string
	err = l.DB.SelectContext(ctx, &lax, `SELECT concat_ws(' in ', coalesce('role ' || r.rolname, 'all roles'), 'database ' || d.datname)
		FROM pg_db_role_setting AS s LEFT JOIN pg_roles AS r ON r.oid = s.setrole LEFT JOIN pg_database AS d ON d.oid = s.setdatabase, unnest(s.setconfig) AS c
		WHERE c = 'synchronous_commit=off' AND (s.setdatabase = 0 OR d.datname = current_database())
			AND (s.setrole = 0 OR s.setrole IN (`+rolesConcerned+`))`, l.Tables[0])
	if err != nil {
		l.unseen(check, err)
		return
	}
	if s.Commit == "off" && len(lax) == 0 {
		lax = []string{"this server"}
	}
	const loss = "a crash of the server may lose transactions that it has confirmed, with orders whose messages are published already"
	switch {
	case s.Fsync == "off":
		l.fail(check, "run: ALTER SYSTEM SET fsync = on", "fsync is off: a crash may destroy the database")
	case len(lax) > 0:
		l.warn(check, "remove synchronous_commit=off from postgresql.conf, ALTER ROLE, ALTER DATABASE or the URL", "synchronous_commit is off for %s: %s", listed(lax), loss)
	case s.Pages == "off":
		l.warn(check, "run: ALTER SYSTEM SET full_page_writes = on", "full_page_writes is off: a crash may damage pages")
	default:
		l.ok(check, "synchronous_commit is %s, fsync is on", s.Commit)
	}
}

func (l look) clock(ctx context.Context) {
	check := l.check("clock")
	var then time.Time
	before := time.Now()
	err := l.DB.GetContext(ctx, &then, `SELECT clock_timestamp()`)
	if err != nil {
		l.unseen(check, err)
		return
	}
	l.judgeClock(check, "the clock of the "+l.Name+" database", before, then, time.Now(), 0)
}

// certificates reports those of the server and of this client.
func (l look) certificates(ctx context.Context) {
	check := l.check("certificate")
	server, client, err := postgres.Certificates(ctx, l.DB)
	switch {
	case errors.Is(err, postgres.ErrNoTLS):
		l.ok(check, "the connection does not use TLS")
	case err != nil:
		l.unseen(check, err)
	default:
		l.judgeCertificates(check, l.o.Expiry, "the "+l.Name+" database", server, client)
	}
}
