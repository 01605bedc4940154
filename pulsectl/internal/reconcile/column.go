package reconcile

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Column names the column of a service's table that holds event ids.
type Column struct {
	Schema string // empty: found by the database
	Table  string
	Name   string
	// Time is the column with the time of a row. Empty: created_at, if the
	// table has it; otherwise the time in a UUIDv7.
	Time string

	kind    string // the database's type of the column
	hasTime bool
	idKind  string // of a column id in the same table, the order's own id; empty: none
}

const defaultTime = "created_at"

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$]{0,62}$`)

// ParseColumn parses [schema.]table.column[:time_column]. Names consist of
// letters, digits, _ and $, and are case-sensitive.
func ParseColumn(text string) (Column, error) {
	place, at, timed := strings.Cut(text, ":")
	parts := strings.Split(place, ".")
	if len(parts) != 2 && len(parts) != 3 {
		return Column{}, fmt.Errorf("%q is not of the form table.column, such as orders.event_id", text)
	}
	names := parts
	if timed {
		names = append(parts[:len(parts):len(parts)], at)
	}
	for _, name := range names {
		if !identifier.MatchString(name) {
			return Column{}, fmt.Errorf("%q in %q is not the name of a table or column: use letters, digits, _ and $", name, text)
		}
	}
	c := Column{Time: at}
	if len(parts) == 3 {
		c.Schema, parts = parts[0], parts[1:]
	}
	c.Table, c.Name = parts[0], parts[1]
	return c, nil
}

// String returns the form that ParseColumn parses.
func (c Column) String() string {
	text := c.tableName() + "." + c.Name
	if c.Time != "" {
		text += ":" + c.Time
	}
	return text
}

func (c Column) tableName() string {
	if c.Schema != "" {
		return c.Schema + "." + c.Table
	}
	return c.Table
}

// quoted returns the table as SQL. ParseColumn has checked the names.
func (c Column) quoted() string {
	if c.Schema != "" {
		return quote(c.Schema) + "." + quote(c.Table)
	}
	return quote(c.Table)
}

func quote(name string) string { return sqldb.QuoteName(name) }

// at returns the SQL expression for the time of a row, comparable across
// tables.
func (c Column) at(d sqldb.Dialect) string {
	if !c.hasTime {
		return "NULL"
	}
	if d == sqldb.SQLite {
		return quote(c.Time)
	}
	return "CAST(" + quote(c.Time) + " AS timestamptz)"
}

// NameError says that something with this name does not exist.
type NameError struct {
	What string   // such as "topic"
	Name string   // as the user wrote it
	Why  string   // what was not found
	Have []string // the existing names
}

func (e *NameError) Error() string { return fmt.Sprintf("%s %q: %s", e.What, e.Name, e.Why) }

// resolve looks up the names in c; a NameError says what is missing.
func (c Column) resolve(ctx context.Context, db *sqlx.DB, what string) (Column, error) {
	columns, err := columnsOf(ctx, db, c)
	if err != nil {
		return c, err
	}
	if len(columns) == 0 {
		have, err := tablesOf(ctx, db)
		if err != nil {
			return c, err
		}
		return c, &NameError{What: what, Name: c.tableName(), Why: "there is no such table in this database", Have: have}
	}
	var names []string
	for _, col := range columns {
		names = append(names, col.Name)
		switch col.Name {
		case c.Name:
			c.kind = col.Kind
		case "id":
			c.idKind = col.Kind
		}
		if col.Name == c.Time || c.Time == "" && col.Name == defaultTime {
			c.hasTime = true
		}
	}
	for _, name := range []string{c.Name, c.Time} {
		found := name == ""
		for _, have := range names {
			found = found || have == name
		}
		if !found {
			return c, &NameError{What: what, Name: c.tableName() + "." + name, Why: "the table has no such column", Have: names}
		}
	}
	if c.hasTime && c.Time == "" {
		c.Time = defaultTime
	}
	return c, nil
}

type columnInfo struct{ Name, Kind string }

func columnsOf(ctx context.Context, db *sqlx.DB, c Column) (columns []columnInfo, err error) {
	if dialect(db) == sqldb.SQLite {
		err = db.SelectContext(ctx, &columns, `SELECT name, lower(type) AS kind FROM pragma_table_info(?)`, c.Table)
		return columns, err
	}
	err = db.SelectContext(ctx, &columns, `SELECT attname::text AS name, format_type(atttypid, NULL) AS kind FROM pg_attribute
		WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, c.quoted())
	return columns, err
}

// tablesOf lists the tables of a database, without system tables.
func tablesOf(ctx context.Context, db *sqlx.DB) (names []string, err error) {
	query := `SELECT CASE WHEN table_schema = current_schema() THEN '' ELSE table_schema || '.' END || table_name
		FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1 LIMIT 200`
	if dialect(db) == sqldb.SQLite {
		query = `SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY name`
	}
	err = db.SelectContext(ctx, &names, query)
	return names, err
}

// among returns the condition that the column is one of a JSON array of ids,
// parameter n, served by an index on the column if its type allows, and the ids
// that the column can hold.
func (c Column) among(d sqldb.Dialect, ids []string, n int) (condition string, fit []string) {
	column := quote(c.Name)
	if d == sqldb.SQLite {
		return fmt.Sprintf("%s IN (SELECT value FROM json_each($%d))", column, n), ids
	}
	kind := "text"
	switch {
	case c.kind == "uuid":
		kind, ids = "uuid", onlyUUIDs(ids)
	case c.kind != "text" && !strings.HasPrefix(c.kind, "character varying"):
		column = "CAST(" + column + " AS text)"
	}
	return fmt.Sprintf("%s IN (SELECT CAST(value AS %s) FROM json_array_elements_text(CAST(CAST($%d AS text) AS json)) AS listed (value))",
		column, kind, n), ids
}

// onlyUUIDs returns those of ids that a column of type uuid can hold and would
// print in the same form.
func onlyUUIDs(ids []string) []string {
	fit := make([]string, 0, len(ids))
	for _, id := range ids {
		if parsed, err := uuid.Parse(id); err == nil && parsed.String() == id {
			fit = append(fit, id)
		}
	}
	return fit
}

// timeOfID returns the time in a UUIDv7, or zero. An impossibly early time is
// ignored: such an id was made by hand.
func timeOfID(id string) time.Time {
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.Version() != 7 {
		return time.Time{}
	}
	if at := time.Unix(parsed.Time().UnixTime()); at.Year() > 2020 {
		return at
	}
	return time.Time{}
}

// FindColumn resolves the column named by text; what describes its use. Empty
// stands for fallback, which may be missing or empty; "none" for no column. A
// NameError says what is missing.
func FindColumn(ctx context.Context, db *sqlx.DB, what, text, fallback string) (*Column, error) {
	switch text {
	case "none":
		return nil, nil
	case "":
		if fallback == "" {
			return nil, nil
		}
		c, err := ParseColumn(fallback)
		if err != nil {
			return nil, err
		}
		c, err = c.resolve(ctx, db, what)
		if _, missing := errors.AsType[*NameError](err); missing {
			return nil, nil
		}
		return &c, err
	}
	c, err := ParseColumn(text)
	if err != nil {
		return nil, err
	}
	if c, err = c.resolve(ctx, db, what); err != nil {
		return nil, err
	}
	return &c, nil
}
