package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
)

// Column is one fact about a T. Table, TSV and JSON are made of the same
// columns, so they cannot drift apart.
type Column[T any] struct {
	Key   string      // the JSON key; the heading is made from it
	Value func(T) any // string, number, bool, time.Time, nil, json.RawMessage or anything json.Marshal takes
	Tone  func(T) Tone
	Wide  bool // only in wide tables, in TSV and in JSON
	Only  bool // only in JSON
	ID    bool // what -o name prints
}

// List is rows and where the next ones begin.
type List[T any] struct {
	Columns []Column[T]
	Items   []T
	Next    string // cursor of the next page; empty: none
	// Show limits and orders the columns of tables by their keys; nil: all.
	Show []string
}

// CheckColumns reports a key in show that no column has.
func CheckColumns[T any](columns []Column[T], show []string) error {
	var keys []string
	for _, col := range columns {
		keys = append(keys, col.Key)
	}
	for _, key := range show {
		if !slices.Contains(keys, key) {
			return fmt.Errorf("unknown column %q; have %s", key, strings.Join(keys, ", "))
		}
	}
	return nil
}

// RenderList writes a list to stdout in the format in force.
func RenderList[T any](c *IO, list List[T]) error {
	switch c.Resolved() {
	case JSON:
		items := make([]json.RawMessage, 0, len(list.Items))
		for _, item := range list.Items {
			raw, err := object(list.Columns, item)
			if err != nil {
				return err
			}
			items = append(items, raw)
		}
		return writeJSON(c.Out, struct {
			Items []json.RawMessage `json:"items"`
			Next  *string           `json:"next"`
		}{items, nullable(list.Next)})
	case JSONL:
		for _, item := range list.Items {
			raw, err := object(list.Columns, item)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(c.Out, "%s\n", raw); err != nil {
				return err
			}
		}
		return nil
	case Name:
		return writeNames(c.Out, list.Columns, list.Items)
	case TSV:
		return writeTSV(c.Out, visible(list.Columns, list.Show, true), list.Items)
	}
	return writeTable(c, visible(list.Columns, list.Show, c.Resolved() == Wide), list.Items)
}

// RenderOne writes one object to stdout in the format in force.
func RenderOne[T any](c *IO, columns []Column[T], item T) error {
	switch c.Resolved() {
	case JSON:
		raw, err := object(columns, item)
		if err != nil {
			return err
		}
		return writeJSON(c.Out, raw)
	case JSONL:
		raw, err := object(columns, item)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.Out, "%s\n", raw)
		return err
	case Name:
		return writeNames(c.Out, columns, []T{item})
	case TSV:
		for _, col := range visible(columns, nil, true) {
			if _, err := fmt.Fprintf(c.Out, "%s\t%s\n", col.Key, exact(col.Value(item))); err != nil {
				return err
			}
		}
		return nil
	}
	cols := visible(columns, nil, true)
	width := 0
	for _, col := range cols {
		width = max(width, len(col.Key))
	}
	for _, col := range cols {
		text := human(c.Now(), col.Value(item), true)
		if col.Tone != nil {
			text = c.Paint(col.Tone(item), text)
		}
		c.Println(c.Paint(Dim, pad(col.Key, width)) + "  " + text)
	}
	return nil
}

func visible[T any](columns []Column[T], show []string, wide bool) []Column[T] {
	if len(show) > 0 {
		var out []Column[T]
		for _, key := range show {
			if i := slices.IndexFunc(columns, func(col Column[T]) bool { return col.Key == key }); i >= 0 {
				out = append(out, columns[i])
			}
		}
		return out
	}
	return slices.DeleteFunc(slices.Clone(columns), func(col Column[T]) bool { return col.Only || (col.Wide && !wide) })
}

// object renders item with its keys in the order of the columns.
func object[T any](columns []Column[T], item T) (json.RawMessage, error) {
	var buf bytes.Buffer
	buf.WriteByte('{')
	for i, col := range columns {
		if i > 0 {
			buf.WriteByte(',')
		}
		value := col.Value(item)
		if at, ok := value.(time.Time); ok {
			value = nil
			if !at.IsZero() {
				value = at.UTC().Format(time.RFC3339Nano)
			}
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", col.Key, err)
		}
		fmt.Fprintf(&buf, "%q:%s", col.Key, raw)
	}
	buf.WriteByte('}')
	return buf.Bytes(), nil
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func writeNames[T any](w io.Writer, columns []Column[T], items []T) error {
	i := slices.IndexFunc(columns, func(col Column[T]) bool { return col.ID })
	if i < 0 {
		return fmt.Errorf("this result has no id: choose another output format")
	}
	for _, item := range items {
		if _, err := fmt.Fprintln(w, exact(columns[i].Value(item))); err != nil {
			return err
		}
	}
	return nil
}

func writeTSV[T any](w io.Writer, columns []Column[T], items []T) error {
	clean := strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")
	for _, item := range items {
		cells := make([]string, len(columns))
		for i, col := range columns {
			cells[i] = clean.Replace(exact(col.Value(item)))
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return nil
}

func writeTable[T any](c *IO, columns []Column[T], items []T) error {
	widths := make([]int, len(columns))
	heads := make([]string, len(columns))
	for i, col := range columns {
		heads[i] = heading(col.Key)
		widths[i] = lipgloss.Width(heads[i])
	}
	rows := make([][]string, len(items))
	for r, item := range items {
		rows[r] = make([]string, len(columns))
		for i, col := range columns {
			cell := human(c.Now(), col.Value(item), false)
			rows[r][i] = cell
			widths[i] = max(widths[i], lipgloss.Width(cell))
		}
	}
	line := func(cells []string, paint func(i int, padded string) string) {
		var b strings.Builder
		for i, cell := range cells {
			if i > 0 {
				b.WriteString("  ")
			}
			if i < len(cells)-1 {
				cell = pad(cell, widths[i])
			}
			b.WriteString(paint(i, cell))
		}
		c.Println(b.String())
	}
	line(heads, func(_ int, s string) string { return c.Paint(Dim, s) })
	for r, item := range items {
		line(rows[r], func(i int, s string) string {
			if columns[i].Tone == nil {
				return s
			}
			return c.Paint(columns[i].Tone(item), s)
		})
	}
	return nil
}

// heading makes CREATED AT of createdAt.
func heading(key string) string {
	var b strings.Builder
	for i, r := range key {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return strings.ToUpper(b.String())
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-lipgloss.Width(s)))
}

// exact is a value for a program: full, in UTC, empty when unset.
func exact(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return v.UTC().Format(time.RFC3339Nano)
	case json.RawMessage:
		return string(v)
	case map[string]string, []string:
		raw, _ := json.Marshal(v)
		return string(raw)
	}
	return fmt.Sprint(v)
}

// maxCell keeps one long error from pushing the table off the screen.
const maxCell = 60

// human is a value for a person: ages, and a dash where there is nothing.
func human(now time.Time, v any, full bool) string {
	if at, ok := v.(time.Time); ok {
		switch {
		case at.IsZero():
			return "-"
		case full:
			return at.Local().Format("2006-01-02 15:04:05 MST") + " (" + age(now, at) + ")"
		}
		return age(now, at)
	}
	s := strings.Join(strings.Fields(exact(v)), " ")
	if s == "" {
		return "-"
	}
	if runes := []rune(s); !full && len(runes) > maxCell {
		return string(runes[:maxCell-1]) + "…"
	}
	return s
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
