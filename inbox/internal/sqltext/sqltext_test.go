package sqltext_test

import (
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/inbox/internal/sqltext"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

const (
	pg   = sqldb.PostgreSQL
	lite = sqldb.SQLite
)

// texts whose effects are known. ends and session are what is found.
var texts = []struct {
	dialect       sqldb.Dialect // both if empty
	text          string
	ends, session string
}{
	{"", "", "", ""},
	{"", " ; ;; -- nothing\n /* at all */ ", "", ""},
	{"", "INSERT INTO effects (event_id) VALUES ('COMMIT')", "", ""},
	{"", "SELECT 1; SELECT 'a;COMMIT;'", "", ""},
	{"", "SELECT 1;COMMIT", "COMMIT", ""},
	{"", "commit", "COMMIT", ""},
	{"", "-- a comment\n\tCommit;", "COMMIT", ""},
	{"", "/* ; */ COMMIT", "COMMIT", ""},
	{"", "--;\nEND", "END", ""},
	{"", "BEGIN; INSERT INTO effects (event_id) VALUES ('m2'); COMMIT;", "BEGIN", ""},
	{"", "ROLLBACK", "ROLLBACK", ""},
	{"", "ROLLBACK TRANSACTION", "ROLLBACK", ""},
	{"", "SAVEPOINT a; ROLLBACK TO a; RELEASE a", "", ""},
	{"", "SAVEPOINT a; ROLLBACK TRANSACTION TO SAVEPOINT a; RELEASE SAVEPOINT a", "", ""},
	{"", "SAVEPOINT a; ROLLBACK TO a; ROLLBACK", "ROLLBACK", ""},
	{"", `SELECT 1 AS "a;COMMIT"`, "", ""},
	{"", `SELECT 'it''s; COMMIT'`, "", ""},
	{"", `SELECT 1 AS "a"";COMMIT;"`, "", ""},
	{"", "SELECT CASE WHEN 1 = 1 THEN 2 END; SELECT 3", "", ""},
	{"", "CREATE TEMP TABLE t (a int)", "", "CREATE TEMP"},
	{"", "CREATE TEMPORARY TABLE t (a int)", "", "CREATE TEMPORARY"},
	{"", "SELECT 1 AS temp", "", ""},
	{"", `SELECT 1 FROM effects WHERE '\' = ''`, "", ""},

	{pg, "BEGIN", "BEGIN", ""},
	{pg, "START TRANSACTION READ ONLY", "START", ""},
	{pg, "COMMIT AND CHAIN", "COMMIT", ""},
	{pg, "COMMIT WORK", "COMMIT", ""},
	{pg, "END WORK", "END", ""},
	{pg, "ABORT", "ABORT", ""},
	{pg, "ROLLBACK WORK", "ROLLBACK", ""},
	{pg, "ROLLBACK AND CHAIN", "ROLLBACK", ""},
	{pg, "SAVEPOINT a; ROLLBACK WORK TO a", "", ""},
	{pg, "PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION", ""},
	{pg, "PREPARE p AS SELECT 1", "", "PREPARE p"},
	{pg, "DO $$ BEGIN PERFORM 1; END; $$", "", ""},
	{pg, "DO $x$ BEGIN PERFORM '$$;'; END; $x$; COMMIT", "COMMIT", ""},
	{pg, "SELECT $$;COMMIT;$$", "", ""},
	{pg, "SELECT $a$;COMMIT;$b$;COMMIT;$a$", "", ""},
	{pg, "SELECT 1 AS a$b$; COMMIT; SELECT 2 AS c$b$", "COMMIT", ""},
	{pg, "SELECT /* /* ; */ ; COMMIT */ 1", "", ""},
	{pg, "SELECT /* /* */ ; */ 1; COMMIT", "COMMIT", ""},
	{pg, `SELECT E'\'; COMMIT; --'`, "", ""},
	{pg, `SELECT E'\\'; COMMIT; --'`, "COMMIT", ""},
	{pg, `SELECT '\'; COMMIT; --'`, "COMMIT", ""},
	{pg, `SELECT '\\'; COMMIT; --'`, "COMMIT", ""},
	{pg, "SELECT E'a'\n  '\\'; COMMIT; --'", "", ""},
	{pg, "SELECT E'a' -- more\n  '\\'; COMMIT; --'", "", ""},
	{pg, `SELECT U&'\0061;COMMIT'`, "", ""},
	{pg, `SELECT U&'\'; COMMIT; --'`, "COMMIT", ""},
	{pg, "SELECT 1--;\r; COMMIT", "COMMIT", ""},
	{pg, "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END; SELECT 1", "", ""},
	{pg, "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; COMMIT", "COMMIT", ""},
	{pg, "CREATE RULE r AS ON UPDATE TO effects DO ALSO (DELETE FROM other; DELETE FROM other)", "", ""},
	{pg, "SET LOCAL search_path TO tenant_a", "", "SET LOCAL search_path"},
	{pg, "set search_path = x", "", "SET search_path"},
	{pg, "SET TIME ZONE 'UTC'", "", "SET TIME ZONE"},
	{pg, "SET app.secret = 'hunter2'", "", "SET app.secret"},
	{pg, "UPDATE effects SET search_path = 1", "", ""},
	{pg, "SELECT set_config('app.tenant', 'x', true)", "", "set_config()"},
	{pg, `SELECT pg_catalog."set_config" ('app.tenant', 'x', true)`, "", "set_config()"},
	{pg, "SELECT pg_advisory_lock(1)", "", "pg_advisory_lock()"},
	{pg, "SELECT pg_try_advisory_lock_shared(1)", "", "pg_try_advisory_lock_shared()"},
	{pg, "SELECT pg_advisory_xact_lock(1)", "", ""},
	{pg, "LISTEN orders", "", "LISTEN orders"},
	{pg, "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "", "DECLARE c"},
	{pg, "SELECT 1 INTO TEMP t", "", "INTO TEMP"},
	{pg, "CREATE TABLE pg_temp.t (a int)", "", "pg_temp"},

	{lite, "BEGIN IMMEDIATE", "BEGIN", ""},
	{lite, "END TRANSACTION", "END", ""},
	{lite, "SELECT [a;COMMIT;] FROM t", "", ""},
	{lite, "SELECT `a;COMMIT;` FROM t", "", ""},
	{lite, "SELECT /* /* */ 1; COMMIT", "COMMIT", ""},
	{lite, `SELECT '\'; COMMIT`, "COMMIT", ""},
	{lite, "CREATE TRIGGER t AFTER INSERT ON effects BEGIN SELECT CASE WHEN 1 THEN 2 END; SELECT 1; END; SELECT 3", "", ""},
	{lite, "CREATE TRIGGER t AFTER INSERT ON effects BEGIN SELECT 1; END; COMMIT", "COMMIT", ""},
	{lite, "CREATE TABLE trigger (begin int); COMMIT", "COMMIT", ""},
	{lite, "PRAGMA foreign_keys = off", "", "PRAGMA foreign_keys"},
	{lite, "PRAGMA main.table_info(effects)", "", ""},
	{lite, "ATTACH 'x.db' AS x", "", "ATTACH AS"},
}

func TestEffects(t *testing.T) {
	for _, c := range texts {
		for _, d := range []sqldb.Dialect{pg, lite} {
			if c.dialect != "" && c.dialect != d {
				continue
			}
			got := sqltext.Read(d, c.text, sqltext.Standard)
			if got.Ends != c.ends || got.Session != c.session {
				t.Errorf("%s: %s\nends %q, session %q; want %q, %q", d, c.text, got.Ends, got.Session, c.ends, c.session)
			}
		}
	}
}

// What a backslash means is a setting of the session.
func TestBackslash(t *testing.T) {
	for _, c := range []struct {
		text                         string
		standard, backslash, unknown string
	}{
		{`SELECT '\'; COMMIT; --'`, "COMMIT", "", "COMMIT"},
		{`SELECT '\'' ; COMMIT; --'`, "", "COMMIT", "COMMIT"},
		{`SELECT '\\' ; COMMIT; --'`, "COMMIT", "COMMIT", "COMMIT"},
		{`SELECT 'C:\', 'x'`, "", "", ""},
	} {
		for quoting, want := range map[sqltext.Quoting]string{
			sqltext.Standard: c.standard, sqltext.Backslash: c.backslash, sqltext.Unknown: c.unknown} {
			if got := sqltext.Read(pg, c.text, quoting).Ends; got != want {
				t.Errorf("quoting %d: %s: ends %q, want %q", quoting, c.text, got, want)
			}
		}
	}
}

// Opaque is what costs a look at the session; plain reads and writes do not.
func TestOpaque(t *testing.T) {
	for text, want := range map[string]bool{
		"INSERT INTO effects (event_id, key) VALUES ($1, lower($2)) ON CONFLICT (event_id) DO UPDATE SET key = excluded.key RETURNING n": false,
		"INSERT INTO app.effects(event_id) SELECT count(*) FROM t AS m (a, b) WHERE a IN (SELECT 1) AND EXISTS (SELECT 1)":               false,
		"WITH x (a) AS (SELECT now()) UPDATE t SET n = n + 1 FROM x WHERE amount::numeric(10,2) > 1":                                     false,
		"SELECT app.set_tenant($1)":           true,
		`SELECT "set_tenant"($1)`:             true,
		`SELECT U&"set\005ftenant"($1)`:       true,
		"DO $$ BEGIN PERFORM 1; END $$":       true,
		"CALL refresh()":                      true,
		"EXECUTE p":                           true,
		"COPY t FROM STDIN":                   true,
		"SAVEPOINT a; LOCK TABLE t; SELECT 1": false,
	} {
		if got := sqltext.Read(pg, text, sqltext.Standard); got.Opaque != want || got.Session != "" || got.Ends != "" {
			t.Errorf("%s: %+v, want opaque %t and nothing else", text, got, want)
		}
	}
}

// Settings of an application's own are known by their name, if it is there.
func TestSettings(t *testing.T) {
	for text, want := range map[string]struct {
		settings string
		unnamed  bool
	}{
		"SET app.tenant = 'a'": {"app.tenant", false},
		"SET LOCAL app.tenant TO 'a'; SET SESSION app.\"user\" = 'b.c'": {"app.tenant app.user", false},
		"RESET App.Tenant":                                                    {"app.tenant", false},
		"SET search_path TO a":                                                {"", false},
		"SELECT set_config('app.tenant', $1, true)":                           {"app.tenant", false},
		"SELECT set_config($1, $2, true)":                                     {"", true},
		"SELECT set_config('app.' || 'tenant', $2, true)":                     {"", true},
		"DO $$ BEGIN PERFORM set_config('app.tenant', 'a', false); END $$":    {"app.tenant", false},
		"DO $$ BEGIN IF true THEN SET LOCAL app.tenant = 'a'; END IF; END $$": {"", true},
		"DO $$ BEGIN UPDATE t SET a = 1; END $$":                              {"", false},
	} {
		got := sqltext.Read(pg, text, sqltext.Standard)
		if strings.Join(got.Settings, " ") != want.settings || got.Unnamed != want.unnamed {
			t.Errorf("%s: settings %v, unnamed %t; want %v", text, got.Settings, got.Unnamed, want)
		}
		if changes := got.Session != ""; changes == strings.Contains(text, "UPDATE") {
			t.Errorf("%s: session %q", text, got.Session)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, c := range texts {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, d := range []sqldb.Dialect{pg, lite} {
			sqltext.Read(d, text, sqltext.Unknown) // must not panic
		}
	})
}
