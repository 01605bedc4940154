package console

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Column is one fact about a T. Table, TSV and JSON use the same columns, so
// they cannot drift apart.
type Column[T any] struct {
	Key   string      // the JSON key; the heading is made from it
	Value func(T) any // string, number, bool, time.Time, nil, json.RawMessage or anything json.Marshal takes
	Tone  func(T) Tone
	Wide  bool // only in wide tables, in TSV and in JSON
	Only  bool // only in JSON
	ID    bool // printed by -o name; always shown in full

	// For tables on a terminal that is too narrow for all columns.
	Head string // a shorter heading; empty: derived from the key
	Keep int    // columns with the lowest value are omitted first; of equals, the rightmost
	Min  int    // may be cut to this many cells; 0: shown in full or not at all
	Wrap bool   // the last column: wrapped instead of cut
}

// List is a page of rows and the position of the next page.
type List[T any] struct {
	Columns []Column[T]
	Items   []T
	Next    string // cursor of the next page; empty: none
	// Show limits and orders the columns of tables by their keys; nil: all.
	Show []string
}

// CheckColumns returns an error for a key in show that no column has.
func CheckColumns[T any](columns []Column[T], show []string) error {
	keys := Keys(columns)
	for _, key := range show {
		if !slices.Contains(keys, key) {
			return fmt.Errorf("unknown column %q; have %s", key, strings.Join(keys, ", "))
		}
	}
	return nil
}

// Keys returns the keys of columns, in their order.
func Keys[T any](columns []Column[T]) []string {
	var keys []string
	for _, col := range columns {
		keys = append(keys, col.Key)
	}
	return keys
}

// RenderList writes a list to stdout in the format in effect.
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
		return c.writeJSON(struct {
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
		return writeTSV(c.Out, shown(list.Columns, list.Show, true), list.Items)
	}
	if len(list.Items) == 0 && c.OutTTY {
		defer c.Notef("(none)")
	}
	return writeTable(c, shown(list.Columns, list.Show, c.Resolved() == Wide), list.Items, len(list.Show) > 0)
}

// RenderOne writes one object to stdout in the format in effect.
func RenderOne[T any](c *IO, columns []Column[T], item T) error {
	switch c.Resolved() {
	case JSON:
		if c.oneLine {
			return writeObject(c.Out, columns, item, "", "")
		}
		return writeObject(c.Out, columns, item, "\n", "  ")
	case JSONL:
		return writeObject(c.Out, columns, item, "", "")
	case Name:
		return writeNames(c.Out, columns, []T{item})
	case TSV:
		for _, col := range shown(columns, nil, true) {
			if _, err := fmt.Fprintf(c.Out, "%s\t%s\n", col.Key, exact(col.Value(item))); err != nil {
				return err
			}
		}
		return nil
	}
	cols := slices.DeleteFunc(shown(columns, nil, true), func(col Column[T]) bool {
		return col.Wide && c.Resolved() != Wide && exact(col.Value(item)) == ""
	})
	width := 0
	for _, col := range cols {
		width = max(width, len(col.Key))
	}
	for _, col := range cols {
		text := human(c.Now(), col.Value(item), true)
		if col.Tone != nil {
			text = c.Paint(col.Tone(item), text)
		}
		label := c.Paint(Dim, pad(col.Key, width)) + "  "
		if col.Wrap {
			c.Para(label, text)
		} else {
			c.Println(label + text)
		}
	}
	return nil
}

func shown[T any](columns []Column[T], show []string, wide bool) []Column[T] {
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

// JSONWriter is a value that is written as JSON piece by piece, however large
// it is. It can only be in columns that are Only for JSON.
type JSONWriter interface {
	WriteJSON(w io.Writer) error
}

// writeObject writes item and the end of a line. Each key begins with newline
// and indent.
func writeObject[T any](w io.Writer, columns []Column[T], item T, newline, indent string) error {
	out := bufio.NewWriter(w)
	out.WriteByte('{')
	for i, col := range columns {
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(out, "%s%s%q:%s", newline, indent, col.Key, strings.Repeat(" ", min(1, len(indent))))
		if err := writeValue(out, col.Value(item), indent); err != nil {
			return fmt.Errorf("column %s: %w", col.Key, err)
		}
	}
	out.WriteString(newline + "}\n")
	return out.Flush()
}

func writeValue(w io.Writer, value any, indent string) error {
	if large, ok := value.(JSONWriter); ok {
		return large.WriteJSON(w)
	}
	raw, err := valueJSON(value)
	if err != nil {
		return err
	}
	if indent != "" {
		var indented bytes.Buffer
		if err := json.Indent(&indented, raw, indent, indent); err != nil {
			return err
		}
		raw = indented.Bytes()
	}
	_, err = w.Write(raw)
	return err
}

// valueJSON encodes a value as JSON: times in UTC, null for zero ones.
func valueJSON(value any) ([]byte, error) {
	if at, ok := value.(time.Time); ok {
		value = nil
		if !at.IsZero() {
			value = at.UTC().Format(time.RFC3339Nano)
		}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(value)
	return bytes.TrimRight(buf.Bytes(), "\n"), err
}

// Objects returns items as they are in JSON, for a column of another object.
func Objects[T any](columns []Column[T], items []T) []json.RawMessage {
	list := make([]json.RawMessage, len(items))
	for i, item := range items {
		raw, err := object(columns, item)
		if err != nil {
			raw, _ = valueJSON(err.Error()) // a value that has no JSON
		}
		list[i] = raw
	}
	return list
}

// object renders item with its keys in the order of the columns.
func object[T any](columns []Column[T], item T) (json.RawMessage, error) {
	var buf bytes.Buffer
	buf.WriteByte('{')
	for i, col := range columns {
		if i > 0 {
			buf.WriteByte(',')
		}
		raw, err := valueJSON(col.Value(item))
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", col.Key, err)
		}
		fmt.Fprintf(&buf, "%q:%s", col.Key, raw)
	}
	buf.WriteByte('}')
	return buf.Bytes(), nil
}

// writeJSON writes a result to stdout.
func (c *IO) writeJSON(v any) error {
	if !c.oneLine {
		return writeJSON(c.Out, v)
	}
	enc := json.NewEncoder(c.Out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func writeNames[T any](w io.Writer, columns []Column[T], items []T) error {
	i := slices.IndexFunc(columns, func(col Column[T]) bool { return col.ID })
	if i < 0 { // nothing to print without an id
		return nil
	}
	for _, item := range items {
		if _, err := fmt.Fprintln(w, exact(columns[i].Value(item))); err != nil {
			return err
		}
	}
	return nil
}

// writeTSV writes a line for each item, with a cell for each column.
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

// exact formats a value for a program: full, in UTC, empty when unset.
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

// human formats a value for a person: ages, and a dash for no value.
func human(now time.Time, v any, full bool) string {
	if at, ok := v.(time.Time); ok {
		switch {
		case at.IsZero():
			return nothing
		case full:
			return at.Local().Format("2006-01-02 15:04:05 MST") + " (" + age(now, at) + ")"
		}
		return age(now, at)
	}
	return cmp.Or(visible(strings.Join(strings.Fields(exact(v)), " ")), nothing)
}

// nothing is shown for a missing value.
const nothing = "-"

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
