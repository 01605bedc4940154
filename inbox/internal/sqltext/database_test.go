package sqltext_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/inbox/internal/sqltext"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// statements of a text made at random; in place of %s comes noise.
var statements = map[sqldb.Dialect][]string{
	pg: {"SELECT '%s'", "SELECT E'%s'", "SELECT e'%s'\n'%s'", "SELECT U&'%s'", "SELECT $$%s$$", "SELECT $a$%s$a$", "SELECT 1 AS a$b$%s",
		`SELECT 1 AS "%s"`, "SELECT 1 /*%s*/", "SELECT 1 --%s\n", "SELECT (1 %s)", "%s", "COMMIT", "COMMIT", "COMMIT", "END %s", "/*%s*/ ABORT",
		"SAVEPOINT s", "ROLLBACK TO begun", "ROLLBACK %s", "DO $$ BEGIN %s END $$",
		"CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 ELSE 2 END; END"},
	lite: {"SELECT '%s'", "SELECT x'%s'", `SELECT 1 AS "%s"`, "SELECT 1 AS [%s]", "SELECT 1 AS `%s`", "SELECT 1 /*%s*/", "SELECT 1 --%s\n",
		"SELECT (1 %s)", "SELECT $a%s", "%s", "COMMIT", "COMMIT", "END %s", "/*%s*/ COMMIT", "SAVEPOINT s", "ROLLBACK TO begun",
		"ROLLBACK TRANSACTION %s", "CREATE TEMP TRIGGER IF NOT EXISTS r AFTER INSERT ON marks BEGIN SELECT CASE WHEN 1 THEN 1 END; END"},
}

var noise = []string{";COMMIT;", "; COMMIT --", "'", "''", "'", `"`, `""`, `\`, `\\`, `\'`, "--", "\n", "\r", "/*", "*/", "$$", "$a$", "$1", "E", " ", ";", ")", "(", "]", "`"}

// TestAgainstDatabases sends texts made at random: where nothing that ends the
// transaction is found, the database must find nothing either.
func TestAgainstDatabases(t *testing.T) {
	t.Run("PostgreSQL", func(t *testing.T) {
		url := testenv.Postgres(t)
		for setting, quoting := range map[string]sqltext.Quoting{"on": sqltext.Standard, "off": sqltext.Backslash} {
			compare(t, url+"&standard_conforming_strings="+setting, quoting)
		}
	})
	t.Run("SQLite", func(t *testing.T) {
		compare(t, sqlite.URL(filepath.Join(t.TempDir(), "texts.db")), sqltext.Standard)
	})
}

func compare(t *testing.T, url string, quoting sqltext.Quoting) {
	t.Helper()
	db, d, err := database.Open(url, t.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.MustExec(`CREATE TABLE IF NOT EXISTS marks (n int)`)
	conn, err := db.DB.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	random := rand.New(rand.NewPCG(8, 34))
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	ended, missed := 0, 0
	for range 2000 {
		var texts []string
		for range 1 + random.IntN(4) {
			var b strings.Builder
			for range random.IntN(3) {
				b.WriteString(pick(noise))
			}
			texts = append(texts, strings.ReplaceAll(pick(statements[d]), "%s", b.String()))
		}
		text := strings.Join(texts, ";")
		found := sqltext.Read(d, text, quoting).Ends
		really, err := endsTransaction(t.Context(), conn, text)
		switch {
		case err != nil:
			t.Fatalf("%q: %v", text, err)
		case really && found == "":
			t.Errorf("%q ends the transaction, and nothing was found", text)
			if missed++; missed == 10 {
				return
			}
		case really:
			ended++
		}
	}
	if ended < 300 {
		t.Errorf("%d texts have ended their transaction: too few to prove anything", ended)
	}
	t.Logf("%d texts have ended their transaction, all were found", ended)
}

// endsTransaction reports whether text ends the transaction it is sent in: a
// savepoint is there as long as its transaction is.
func endsTransaction(ctx context.Context, conn *sql.Conn, text string) (bool, error) {
	run := func(query string) error {
		_, err := conn.ExecContext(ctx, query)
		return err
	}
	if err := run(`BEGIN; SAVEPOINT begun`); err != nil {
		return false, fmt.Errorf("begin: %w", err)
	}
	_ = run(text) // many are no SQL
	if run(`ROLLBACK TO SAVEPOINT begun`) == nil {
		return false, run(`ROLLBACK`)
	}
	_ = run(`ROLLBACK`) // there may be no transaction at all
	return true, nil
}
