package console

import "strings"

// Definition is a term and what it means.
type Definition struct{ Term, Text string }

const (
	proseWidth = 80 // of help in a pipe; at most 100 on a terminal
	maxProse   = 100
	maxTerm    = 26 // the text of a longer term goes below it
)

// ProseWidth returns how wide help may be.
func (c *IO) ProseWidth() int {
	if width := c.outWidth(); width > 0 {
		return min(width, maxProse)
	}
	return proseWidth
}

// Prose writes a paragraph of help to stdout, indented.
func (c *IO) Prose(indent int, text string) {
	c.Println(wrap(strings.Repeat(" ", indent), text, c.ProseWidth()))
}

// Definitions writes terms with their texts to stdout, indented and aligned.
func (c *IO) Definitions(indent int, list []Definition) {
	width := 0
	for _, d := range list {
		if w := cells(d.Term); w <= maxTerm {
			width = max(width, w)
		}
	}
	blanks := strings.Repeat(" ", indent)
	beside := blanks + strings.Repeat(" ", width+gap)
	for _, d := range list {
		label := blanks + pad(d.Term, width+gap)
		if cells(d.Term) > width && d.Text != "" {
			c.Println(blanks + d.Term)
			label = beside
		}
		c.Println(wrap(label, d.Text, c.ProseWidth()))
	}
}
