package sqldb

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
)

// SQL files name tables with the schema pulse, as in pulse.outbox_messages. It
// stands for the actual schema: search_path belongs to the session, and tenants
// and handlers change it.
const schemaMark = "pulse."

// In returns queries with the tables in the given schema; if it is empty, with
// their bare names.
func (q Queries) In(d Dialect, schema string) Queries {
	prefix := ""
	switch {
	case d == SQLite:
		prefix = "main." // not a temporary table or one of an attached file
	case schema != "":
		prefix = QuoteName(schema) + "."
	}
	located := make(Queries, len(q))
	for name, text := range q {
		located[name] = strings.ReplaceAll(text, schemaMark, prefix)
	}
	return located
}

// QuoteName returns the name of a table or schema quoted for a statement, or
// for a literal in one.
func QuoteName(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// QuoteLiteral returns text as a literal that means the same with every value
// of standard_conforming_strings.
func QuoteLiteral(text string) string {
	text = strings.ReplaceAll(text, `'`, `''`)
	if strings.Contains(text, `\`) {
		return `E'` + strings.ReplaceAll(text, `\`, `\\`) + `'`
	}
	return `'` + text + `'`
}

// schemaProblem returns why name cannot be used as a schema, or "".
func schemaProblem(name string) string {
	switch {
	case len(name) > maxName:
		return fmt.Sprintf("has %d bytes; PostgreSQL allows %d", len(name), maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '\'' || r == '\\' || r == '\uFFFD' }):
		return "contains a character that is not allowed"
	}
	return ""
}

// location is the schema of the tables, and the queries for it.
type location struct {
	schema string // empty: found by search_path
	Queries
}

// finder finds the schema that contains a table, and caches it.
type finder struct {
	dialect  Dialect
	own      *sqlx.DB
	fixed    string // the schema set by the user; empty: find it
	landmark string // the table to find
	queries  Queries
	found    atomic.Pointer[location]
}

func (f *finder) at(schema string) *location {
	return &location{schema, f.queries.In(f.dialect, schema)}
}

// remember caches a location and returns it.
func (f *finder) remember(schema string) *location {
	l := f.at(schema)
	f.found.Store(l)
	return l
}

// forget makes the next statement look again: the tables may have moved.
func (f *finder) forget() {
	if f.dialect == PostgreSQL && f.fixed == "" {
		f.found.Store(nil)
	}
}

// known returns the location if it is known without a query, or nil.
func (f *finder) known() *location {
	if l := f.found.Load(); l != nil {
		return l
	}
	if f.dialect != PostgreSQL || f.fixed != "" {
		return f.remember(f.fixed)
	}
	return nil
}

// querier runs a query; transactions of all kinds implement it.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// sighting is what a session reports about the location of the table.
type sighting struct {
	Visible string   `json:"visible"` // the schema found by the current search_path
	Path    string   `json:"path"`    // the search_path at the beginning of the session
	User    string   `json:"user"`    // whose schema $user means there
	Holders []string `json:"holders"` // all schemas with the table
}

// sight queries a session. The statement has no arguments and returns text, so
// that neither settings nor poolers matter.
func (f *finder) sight(ctx context.Context, q querier) (s sighting, err error) {
	named := strings.NewReplacer("landmark_name", QuoteLiteral(QuoteName(f.landmark)), "landmark", QuoteLiteral(f.landmark))
	rows, err := q.QueryContext(ctx, named.Replace(sightSQL))
	if err != nil {
		return s, err
	}
	defer rows.Close()
	var text string
	for rows.Next() {
		if err := rows.Scan(&text); err != nil {
			return s, err
		}
	}
	if err := rows.Err(); err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(text), &s)
}

const sightSQL = `
SELECT pg_catalog.json_build_object(
  'visible', (SELECT n.nspname FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
              WHERE c.oid = pg_catalog.to_regclass(landmark_name) AND c.relpersistence <> 't'),
  'path', (SELECT s.reset_val FROM pg_catalog.pg_settings AS s WHERE s.name = 'search_path'),
  'user', session_user,
  'holders', (SELECT pg_catalog.json_agg(n.nspname) FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
              WHERE c.relname = landmark AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
                AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')))::text`

// initial returns the schema found by the session's initial search_path, or "".
func (s sighting) initial() string {
	for _, schema := range splitPath(s.Path) {
		if schema == "$user" {
			schema = s.User
		}
		if slices.Contains(s.Holders, schema) {
			return schema
		}
	}
	return ""
}

// splitPath parses a search_path as printed by the server.
func splitPath(path string) (schemas []string) {
	var name []byte
	quoted := false
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '"' && quoted && strings.HasPrefix(path[i+1:], `"`):
			name = append(name, c)
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
			name = append(name, c)
		case c == ',':
			schemas, name = append(schemas, string(name)), nil
		case c != ' ':
			name = append(name, bytes.ToLower([]byte{c})...)
		}
	}
	return append(schemas, string(name))
}

// inOwn finds the schema in a transaction of this package, on a connection with
// the service's search_path. If the table does not exist, statements use its
// bare name, and fail.
func (f *finder) inOwn(ctx context.Context, q querier) (*location, error) {
	if l := f.known(); l != nil {
		return l, nil
	}
	s, err := f.sight(ctx, q)
	if err != nil {
		return nil, err
	}
	if schema := cmp.Or(s.Visible, s.initial()); schema != "" {
		return f.remember(schema), nil
	}
	return f.at(""), nil
}

// ownLookTimeout limits the wait for another connection while the caller holds
// one: concurrent callers may hold all of them.
const ownLookTimeout = 2 * time.Second

// inTheirs finds the schema for a statement in the caller's transaction, whose
// search_path may have been changed, for example for a tenant. Its answer is
// used only if it agrees with the session's initial search_path; otherwise
// another connection is asked.
func (f *finder) inTheirs(ctx context.Context, tx any) (*location, error) {
	if l := f.known(); l != nil {
		return l, nil
	}
	q, ok := tx.(querier)
	if !ok {
		return f.elsewhere(ctx, sighting{})
	}
	s, err := f.sight(ctx, q)
	if err != nil {
		return nil, err
	}
	if schema := s.initial(); schema != "" && schema == s.Visible {
		return f.remember(schema), nil
	}
	return f.elsewhere(ctx, s)
}

// elsewhere asks another connection; if there is none, the only candidate is
// used, but not cached.
func (f *finder) elsewhere(ctx context.Context, s sighting) (*location, error) {
	bounded, cancel := context.WithTimeout(ctx, ownLookTimeout)
	defer cancel()
	l, err := f.inOwn(bounded, f.own)
	switch initial := s.initial(); {
	case err == nil:
		return l, nil
	case ctx.Err() != nil:
		return nil, err
	case initial != "" && s.Visible != "" && initial != s.Visible:
		return nil, errors.Join(fmt.Errorf("table %s is in schema %s by this transaction's search_path and in %s by the initial one of its session: set it with WithSchema",
			f.landmark, s.Visible, initial), err)
	default:
		return f.at(cmp.Or(initial, s.Visible)), nil
	}
}

// migrated returns the schema to migrate: the one with the tables, or "" for
// where new ones are created.
func (f *finder) migrated(ctx context.Context, tx *sqlx.Tx) (string, error) {
	if f.fixed != "" {
		there, err := usable(ctx, tx, f.fixed, `SELECT pg_catalog.has_schema_privilege(oid, 'USAGE') FROM pg_catalog.pg_namespace WHERE nspname = $1`, f.fixed)
		if err == nil && !there {
			err = fmt.Errorf("%w: there is no schema %s; create it, or correct WithSchema", ErrSchema, QuoteName(f.fixed))
		}
		return f.fixed, err
	}
	// A known location is valid while the table exists: this session may have
	// another search_path.
	if l := f.known(); l != nil {
		there, err := usable(ctx, tx, l.schema, `SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') FROM pg_catalog.pg_class AS c
			JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`, l.schema, f.landmark)
		if err != nil || there {
			return l.schema, err
		}
	}
	f.forget()
	l, err := f.inOwn(ctx, tx)
	if err != nil {
		return "", err
	}
	return l.schema, nil
}

// usable reports whether a query of a schema's privilege finds something. One without the
// right to use it sees no table in it, as if none were there: that is an error.
func usable(ctx context.Context, tx *sqlx.Tx, schema, query string, args ...any) (there bool, err error) {
	var usable []bool
	if err := tx.SelectContext(ctx, &usable, query, args...); err != nil {
		return false, err
	}
	if slices.Contains(usable, false) {
		return false, fmt.Errorf("permission denied for schema %s", QuoteName(schema))
	}
	return len(usable) > 0, nil
}
