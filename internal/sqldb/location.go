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

// Our SQL files name tables with the schema pulse, as in pulse.outbox_messages.
// That stands for the schema the tables are in: search_path is the session's
// business, and tenants and handlers change it.
const schemaMark = "pulse."

// In returns queries that name the tables in the given schema; with none, by
// their bare names.
func (q Queries) In(d Dialect, schema string) Queries {
	prefix := ""
	switch {
	case d == SQLite:
		prefix = "main." // not a temporary table, nor one of an attached file
	case schema != "":
		prefix = QuoteName(schema) + "."
	}
	located := make(Queries, len(q))
	for name, text := range q {
		located[name] = strings.ReplaceAll(text, schemaMark, prefix)
	}
	return located
}

// QuoteName is the name of a table or a schema as a part of a statement, or of
// a literal within one.
func QuoteName(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// QuoteLiteral is text as a literal that means the same whatever
// standard_conforming_strings says.
func QuoteLiteral(text string) string {
	text = strings.ReplaceAll(text, `'`, `''`)
	if strings.Contains(text, `\`) {
		return `E'` + strings.ReplaceAll(text, `\`, `\\`) + `'`
	}
	return `'` + text + `'`
}

// schemaProblem says what makes name unfit as that of a schema, or "".
func schemaProblem(name string) string {
	switch {
	case len(name) > maxName:
		return fmt.Sprintf("has %d bytes, PostgreSQL takes %d", len(name), maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '\'' || r == '\\' || r == '\uFFFD' }):
		return "holds a character that no schema should have"
	}
	return ""
}

// location is where the tables are, and the queries for there.
type location struct {
	schema string // empty: wherever search_path leads
	plain  Queries
	bound  Queries // with the dialect's parameter marks
}

// Get returns a query, ready to be sent. A missing one is a defect of the
// build: it panics.
func (l *location) Get(name string) string { return l.bound.Get(name) }

// finder finds the schema that holds a table, and remembers it.
type finder struct {
	dialect  Dialect
	own      *sqlx.DB
	fixed    string // the schema that was asked for; empty: it is looked for
	landmark string // the table that tells
	queries  Queries
	found    atomic.Pointer[location]
}

func (f *finder) at(schema string) *location {
	plain := f.queries.In(f.dialect, schema)
	bound := make(Queries, len(plain))
	for name, text := range plain {
		bound[name] = f.dialect.Rebind(text)
	}
	return &location{schema: schema, plain: plain, bound: bound}
}

// remember keeps a location and returns it.
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

// known returns the location where nothing has to be asked for it, else nil.
func (f *finder) known() *location {
	if l := f.found.Load(); l != nil {
		return l
	}
	if f.dialect != PostgreSQL || f.fixed != "" {
		return f.remember(f.fixed)
	}
	return nil
}

// querier runs a query; transactions of all kinds do.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// sighting is what a session says about where the table is.
type sighting struct {
	Visible string   `json:"visible"` // the schema that search_path, as it is now, leads to
	Path    string   `json:"path"`    // the search_path that the session began with
	User    string   `json:"user"`    // whose schema is meant by $user there
	Holders []string `json:"holders"` // all schemas that have the table
}

// sight asks a session. The answer is text and the statement has no
// arguments, so that neither settings nor poolers matter.
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

// initial returns the schema to which the session's first search_path leads,
// or "".
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

// splitPath reads a search_path as the server writes it.
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

// inOwn finds the schema in a transaction of ours: on a connection as the
// service set it up, so that its search_path is meant. Where the table is
// nowhere, statements use its bare name, and fail by it.
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

// ownLookTimeout bounds the wait for a connection of ours while the caller
// holds one: others that do the same may hold all there are.
const ownLookTimeout = 2 * time.Second

// inTheirs finds the schema for a statement in the caller's transaction, whose
// search_path may be a tenant's by now. Only where it agrees with the one that
// the session began with does that tell; else a connection of ours is asked.
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

// elsewhere asks a connection of ours; where there is none to be had, the only
// candidate is taken, this once.
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
		return nil, errors.Join(fmt.Errorf("table %s is in schema %s by this transaction's search_path and in %s by the one its session began with: say which with WithSchema",
			f.landmark, s.Visible, initial), err)
	default:
		return f.at(cmp.Or(initial, s.Visible)), nil
	}
}

// migrated returns the schema to migrate: where the tables are already, or
// else "", for where new ones are made.
func (f *finder) migrated(ctx context.Context, tx *sqlx.Tx) (string, error) {
	if f.fixed != "" {
		var there bool
		err := tx.GetContext(ctx, &there, `SELECT count(*) > 0 FROM pg_catalog.pg_namespace WHERE nspname = $1`, f.fixed)
		if err == nil && !there {
			err = fmt.Errorf("%w: there is no schema %s; create it, or correct WithSchema", ErrSchema, QuoteName(f.fixed))
		}
		return f.fixed, err
	}
	// What is known stays so for as long as it is true: this session may have
	// been left with another search_path.
	if l := f.known(); l != nil {
		var there bool
		err := tx.GetContext(ctx, &there, `SELECT count(*) > 0 FROM pg_catalog.pg_class AS c
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
