package main

import (
	"fmt"
	"strings"

	"github.com/rivo/uniseg"
)

// screen shows what a terminal of a width shows after all of raw was written to
// it: the lines, without colours. It is an error to write beyond the last
// column, since the terminal would break the line there, or to use a sequence
// that is not known here.
func screen(raw string, width int) (lines []string, err error) {
	row, column := 0, 0
	rows := [][]string{nil} // of cells; a wide character leaves the next one empty
	put := func(cluster string, wide int) {
		for len(rows[row]) < column+wide {
			rows[row] = append(rows[row], " ")
		}
		rows[row][column] = cluster
		for i := 1; i < wide; i++ {
			rows[row][column+i] = ""
		}
		column += wide
	}
	for len(raw) > 0 {
		switch {
		case raw[0] == '\r':
			column, raw = 0, raw[1:]
			continue
		case raw[0] == '\n':
			if row++; row == len(rows) {
				rows = append(rows, nil)
			}
			raw = raw[1:]
			continue
		case strings.HasPrefix(raw, "\x1b["):
			end := strings.IndexFunc(raw[2:], func(r rune) bool { return r >= '@' && r <= '~' }) + 2
			switch raw[2 : end+1] {
			case "K":
				rows[row] = rows[row][:min(column, len(rows[row]))]
			case "J":
				rows[row] = rows[row][:min(column, len(rows[row]))]
				rows = rows[:row+1]
			case "?7l", "?7h": // too long a line is an error here in any case
			default:
				if raw[end] != 'm' {
					return nil, fmt.Errorf("unknown sequence %q", raw[:end+1])
				}
			}
			raw = raw[end+1:]
			continue
		}
		var cluster string
		var wide int
		cluster, raw, wide, _ = uniseg.FirstGraphemeClusterInString(raw, -1)
		if cluster < " " {
			return nil, fmt.Errorf("unknown control character %q", cluster)
		}
		put(cluster, wide)
		if column > width {
			return nil, fmt.Errorf("line %d is wider than %d cells: %q", row+1, width, strings.Join(rows[row], ""))
		}
	}
	for _, cells := range rows {
		lines = append(lines, strings.TrimRight(strings.Join(cells, ""), " "))
	}
	return lines, nil
}
