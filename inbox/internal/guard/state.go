package guard

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Snapshot says how the state of a session is read. One serves all sessions of a
// database; its zero value reads nothing.
type Snapshot struct {
	// Query lists what a session consists of, as names and values. An empty
	// JSON array in it, '[]', takes the names of settings to be listed besides.
	Query string
	// Settings is a query for the names of settings that are not listed unless
	// asked for.
	Settings string

	mu    sync.Mutex
	names []string
	asked time.Time
}

// settingsAge is how long the names are used before they are read again.
const settingsAge = 5 * time.Minute

// settingName is what may be put into Query.
var settingName = regexp.MustCompile(`^[a-z_][a-z0-9_]*(\.[a-z0-9_]+)+$`)

// state is what a session consists of beside its tables, by name: settings,
// role, locks, temporary tables.
type state map[string]string

// settings returns the names that are known by now; the session is held.
func (s *Session) settings(ctx context.Context) []string {
	shot := s.snapshot
	shot.mu.Lock()
	defer shot.mu.Unlock()
	if shot.Settings != "" && time.Since(shot.asked) > settingsAge {
		found, err := s.rows(ctx, shot.Settings)
		if err != nil {
			return shot.names
		}
		shot.names, shot.asked = nil, time.Now()
		for _, row := range found {
			shot.names = append(shot.names, text(row[0]))
		}
	}
	return shot.names
}

// remember notes the state before it is changed for the first time, by a
// statement that may set the settings named; the session is held. Where that
// fails, the state counts as changed.
func (s *Session) remember(ctx context.Context, settings []string) {
	if s.snapshot.Query == "" {
		return
	}
	if s.before == nil {
		s.names = append(s.names, s.settings(ctx)...)
		s.names = append(s.names, settings...)
		var err error
		if s.before, err = s.state(ctx); err != nil {
			s.before = state{"the state of the session": "unknown"}
		}
		return
	}
	for _, name := range settings {
		if slices.Contains(s.names, name) || !settingName.MatchString(name) {
			continue
		}
		s.names = append(s.names, name)
		value := ""
		if found, err := s.rows(ctx, "SELECT pg_catalog.current_setting('"+name+"', true)"); err == nil && found[0][0] != nil {
			value = text(found[0][0])
		}
		s.before["setting "+name] = value
	}
}

// Expect says that, once the transaction has ended, something is to be as
// given, whatever it was when the state was noted.
func (s *Session) Expect(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expect = state{name: value}
}

// Changes returns what of the session is not as it was before the first call
// that may have changed it, by name; nothing if there was no such call. Inside
// the transaction that includes what ends with it.
func (s *Session) Changes(ctx context.Context) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before == nil || s.closed {
		return nil, nil
	}
	if s.unnamed && s.tx == nil {
		return []string{"a setting whose name is not known"}, nil
	}
	now, err := s.state(ctx)
	if err != nil {
		return nil, err
	}
	before := maps.Clone(s.before)
	if s.tx == nil {
		maps.Copy(before, s.expect)
	}
	var changed []string
	for name, value := range now {
		if was, known := before[name]; !known || was != value {
			changed = append(changed, name)
		}
		delete(before, name)
	}
	for name := range before { // what is gone; others than settings may end with the transaction
		if strings.HasPrefix(name, "setting ") {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	return changed, nil
}

// state asks the database; the session is held.
func (s *Session) state(ctx context.Context) (state, error) {
	var names []string
	for _, name := range s.names {
		if settingName.MatchString(name) {
			names = append(names, name)
		}
	}
	document, err := json.Marshal(names)
	if err != nil {
		return nil, err
	}
	query := s.snapshot.Query
	if len(names) > 0 {
		query = strings.Replace(query, "'[]'", "'"+string(document)+"'", 1)
	}
	found, err := s.rows(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("state of the session: %w", err)
	}
	now := make(state, len(found))
	for _, row := range found {
		now[text(row[0])] = text(row[1])
	}
	return now, nil
}

func text(v driver.Value) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return fmt.Sprint(v)
}

// inTransaction asks SQLite whether a transaction is open, by beginning one,
// which it refuses inside another; the session is held.
func (s *Session) inTransaction() bool {
	ctx := context.Background()
	if s.exec(ctx, "BEGIN") != nil {
		return true
	}
	_ = s.exec(ctx, "ROLLBACK") // of nothing
	return false
}

// exec sends a statement of ours past database/sql; the session is held.
func (s *Session) exec(ctx context.Context, query string) error {
	if e, ok := s.conn.(driver.ExecerContext); ok {
		if _, err := e.ExecContext(ctx, query, nil); !errors.Is(err, driver.ErrSkip) {
			return err
		}
	}
	_, err := s.rows(ctx, query)
	return err
}

// rows is exec for a query; it returns all rows.
func (s *Session) rows(ctx context.Context, query string) (found [][]driver.Value, err error) {
	var result driver.Rows
	if q, ok := s.conn.(driver.QueryerContext); ok {
		result, err = q.QueryContext(ctx, query, nil)
	} else {
		err = driver.ErrSkip
	}
	if errors.Is(err, driver.ErrSkip) {
		var prepared driver.Stmt
		if prepared, err = s.conn.Prepare(query); err != nil {
			return nil, err
		}
		defer prepared.Close()
		if p, ok := prepared.(driver.StmtQueryContext); ok {
			result, err = p.QueryContext(ctx, nil)
		} else {
			//lint:ignore SA1019 it is all that the driver has
			result, err = prepared.Query(nil)
		}
	}
	if err != nil {
		return nil, err
	}
	defer result.Close()
	for {
		row := make([]driver.Value, len(result.Columns()))
		switch err := result.Next(row); {
		case errors.Is(err, io.EOF):
			return found, nil
		case err != nil:
			return nil, err
		}
		for i, v := range row {
			if b, ok := v.([]byte); ok {
				row[i] = string(b) // the driver's memory
			}
		}
		found = append(found, row)
	}
}
