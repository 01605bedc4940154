package console

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Format is the value of --output.
type Format string

// The formats. Auto is a table on a terminal and TSV in a pipe.
const (
	Auto  Format = ""
	Table Format = "table"
	Wide  Format = "wide"
	JSON  Format = "json"
	JSONL Format = "jsonl"
	TSV   Format = "tsv"
	Name  Format = "name"
)

// Formats returns what --output takes.
func Formats() []Format { return []Format{Table, Wide, JSON, JSONL, TSV, Name} }

// ParseFormat reads the value of --output. The error lists the values.
func ParseFormat(s string) (Format, error) {
	f := Format(s)
	if f == Auto || slices.Contains(Formats(), f) {
		return f, nil
	}
	return "", fmt.Errorf("unknown output format %q; have %s", s, joinFormats())
}

func joinFormats() string {
	var names []string
	for _, f := range Formats() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// Resolved is the format in force on this stdout.
func (c *IO) Resolved() Format {
	switch {
	case c.Format != Auto:
		return c.Format
	case c.OutTTY:
		return Table
	}
	return TSV
}

// Structured reports whether stdout is for a program: nothing but the result
// may go there.
func (c *IO) Structured() bool {
	f := c.Resolved()
	return f == JSON || f == JSONL || f == Name
}

// ErrStructured reports whether stderr, too, is for a program, which expects
// nothing there but the error. A person at a terminal gets remarks as well.
func (c *IO) ErrStructured() bool {
	f := c.Resolved()
	return (f == JSON || f == JSONL) && !c.ErrTTY
}

// age is how people read a time: 3s, 12m, 4h, 9d.
func age(now, at time.Time) string {
	d := now.Sub(at)
	future := ""
	if d < 0 {
		d, future = -d, "in "
	}
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%s%ds", future, int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%s%dm", future, int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%s%dh", future, int(d.Hours()))
	}
	return fmt.Sprintf("%s%dd", future, int(d.Hours()/24))
}
