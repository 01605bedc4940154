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

// Formats returns the values of --output.
func Formats() []Format { return []Format{Table, Wide, JSON, JSONL, TSV, Name} }

// ParseFormat parses the value of --output. The error lists the valid values.
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

// Resolved returns the format in effect for this stdout.
func (c *IO) Resolved() Format {
	switch {
	case c.Format != Auto:
		return c.Format
	case c.OutTTY:
		return Table
	}
	return TSV
}

// Structured reports whether stdout is read by a program: only the result may
// go there.
func (c *IO) Structured() bool {
	f := c.Resolved()
	return f == JSON || f == JSONL || f == Name
}

// ErrStructured reports whether stderr is also read by a program, which expects
// only the error there. A person at a terminal gets notes as well.
func (c *IO) ErrStructured() bool {
	f := c.Resolved()
	return (f == JSON || f == JSONL) && !c.ErrTTY
}

// age formats a time for people: 3s, 12m, 4h, 9d.
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

// When formats a time for people, with its age.
func (c *IO) When(at time.Time) string { return human(c.Now(), at, true) }
