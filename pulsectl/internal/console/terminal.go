package console

import (
	"os"
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"
)

// Widths are in cells: a wide character takes two, a combining one none.
const (
	minWidth     = 20 // the minimum assumed for narrower terminals
	assumedWidth = 80 // of a terminal whose width is unknown
)

// widthOf returns a function that measures the terminal of f.
func widthOf(f *os.File) func() int {
	return func() int {
		width, _, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0
		}
		return width
	}
}

// heightOf returns a function that measures the lines of the terminal of f.
func heightOf(f *os.File) func() int {
	return func() int {
		_, height, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0
		}
		return height
	}
}

func (c *IO) outWidth() int { return terminalWidth(c.OutTTY, c.OutWidth) }
func (c *IO) errWidth() int { return terminalWidth(c.ErrTTY, c.ErrWidth) }

// terminalWidth returns how wide a text may be; 0: no limit.
func terminalWidth(tty bool, measure func() int) int {
	if !tty || measure == nil {
		return 0
	}
	if width := measure(); width > 0 {
		return max(width, minWidth)
	}
	return assumedWidth
}

// cells returns the width of s on a terminal.
func cells(s string) int { return ansi.StringWidth(s) }

// cut shortens s to a width and marks that. Colours are kept.
func cut(s string, width int) string { return ansi.Truncate(s, width, "…") }

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-cells(s)))
}

// wrap breaks text at blanks so that it fits the width after a label; continued
// lines are indented by the label. A word that is too long is not broken, so
// that it can be copied. Width 0: no limit.
func wrap(label, text string, width int) string {
	indent := cells(label)
	if width > 0 {
		indent = min(indent, width/2)
	}
	var b strings.Builder
	b.WriteString(label)
	at := cells(label)
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		}
		if width == 0 || at+cells(line) <= width {
			b.WriteString(line)
			continue
		}
		for i, word := range strings.Fields(line) {
			switch w := cells(word); {
			case i == 0:
				at += w
			case at+1+w <= width:
				b.WriteByte(' ')
				at += 1 + w
			default:
				b.WriteString("\n" + strings.Repeat(" ", indent))
				at = indent + w
			}
			b.WriteString(word)
		}
	}
	return b.String()
}

// visible removes control sequences from a text: a message of a database or a
// broker must not move the cursor, set the title or change the direction of
// writing. Line breaks stay.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
