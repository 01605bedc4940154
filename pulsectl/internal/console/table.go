package console

import (
	"cmp"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

const (
	gap = 2 // cells between columns
	// maxCell limits a cell where no terminal does, so that one long error does
	// not widen the table.
	maxCell = 60
	// minWrapped is the minimum width of a wrapped column.
	minWrapped = 20
)

// writeTable writes a table that fits the terminal, unless a wide one is
// requested. Columns chosen by the user are all shown.
func writeTable[T any](c *IO, columns []Column[T], items []T, chosen bool) error {
	wide, limit := c.Resolved() == Wide, c.outWidth()
	if wide {
		limit = 0
	}
	heads, sizes := make([]string, len(columns)), make([]size, len(columns))
	for i, col := range columns {
		heads[i] = heading(col.Key)
		if !wide && col.Head != "" {
			heads[i] = col.Head
		}
		sizes[i] = size{natural: cells(heads[i]), min: col.Min, keep: col.Keep, needed: col.ID || chosen, empty: true}
		if col.Wrap {
			sizes[i].min = minWrapped
		}
	}
	rows := make([][]string, len(items))
	for r, item := range items {
		rows[r] = make([]string, len(columns))
		for i, col := range columns {
			text := human(c.Now(), col.Value(item), false)
			if limit == 0 && !wide {
				text = cut(text, maxCell)
			}
			rows[r][i] = text
			sizes[i].natural = max(sizes[i].natural, cells(text))
			sizes[i].empty = sizes[i].empty && text == nothing
		}
	}
	widths := fit(sizes, limit)
	writeRow(c, columns, widths, heads, func(Column[T]) Tone { return Dim })
	for r, item := range items {
		writeRow(c, columns, widths, rows[r], func(col Column[T]) Tone {
			if col.Tone == nil {
				return Plain
			}
			return col.Tone(item)
		})
	}
	return nil
}

// size is the width that one column needs.
type size struct {
	natural int  // of its widest cell
	min     int  // the width that it can be cut to; 0: natural
	keep    int  // columns with the lowest value are omitted first
	needed  bool // never omitted
	empty   bool // has no values: omitted before all others
}

// fit assigns each column its width, 0 to those that are omitted. limit 0: no
// limit.
func fit(columns []size, limit int) []int {
	widths := make([]int, len(columns))
	total := gap * (len(columns) - 1)
	order := make([]int, len(columns))
	for i, col := range columns {
		order[i], widths[i] = i, col.natural
		total += col.natural
	}
	if limit == 0 || total <= limit {
		return widths
	}
	rank := func(col size) int {
		switch {
		case col.needed:
			return 2
		case !col.empty:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(rank(columns[b]), rank(columns[a])), cmp.Compare(columns[b].keep, columns[a].keep))
	})
	left := limit + gap // there is no gap after the last column
	for _, i := range order {
		widths[i] = 0
		least := columns[i].natural
		if columns[i].min > 0 {
			least = min(least, columns[i].min)
		}
		if columns[i].needed || least+gap <= left {
			widths[i] = least
			left -= least + gap
		}
	}
	for _, i := range order { // distribute the rest to the columns that were cut
		if more := min(columns[i].natural-widths[i], left); widths[i] > 0 && more > 0 {
			widths[i] += more
			left -= more
		}
	}
	return widths
}

// writeRow writes one line, or several if a column is wrapped.
func writeRow[T any](c *IO, columns []Column[T], widths []int, row []string, tone func(Column[T]) Tone) {
	last := 0
	lines := make([][]string, len(columns))
	height := 1
	for i, col := range columns {
		if widths[i] == 0 {
			continue
		}
		last = i
		lines[i] = []string{cut(row[i], widths[i])}
		if col.Wrap && cells(row[i]) > widths[i] {
			lines[i] = strings.Split(ansi.Hardwrap(wrap("", row[i], widths[i]), widths[i], false), "\n")
		}
		height = max(height, len(lines[i]))
	}
	for n := range height {
		var b strings.Builder
		for i, col := range columns {
			if widths[i] == 0 {
				continue
			}
			text := ""
			if n < len(lines[i]) {
				text = lines[i][n]
			}
			text = c.Paint(tone(col), text)
			if i != last {
				text = pad(text, widths[i]+gap)
			}
			b.WriteString(text)
		}
		c.Println(b.String())
	}
}

// heading returns CREATED AT for createdAt.
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
