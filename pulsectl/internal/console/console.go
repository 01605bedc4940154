// Package console is the only access of commands to the terminal: streams,
// colour, tables, JSON, errors, progress. Results go to stdout, everything else
// to stderr.
package console

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
	"golang.org/x/term"
)

// IO is where a command reads and writes.
type IO struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer

	OutTTY bool // stdout is a terminal
	ErrTTY bool
	InTTY  bool
	// OutWidth and ErrWidth return the width of the terminal in cells; 0:
	// unknown. They are called each time, because a terminal may be resized.
	// Nil: unknown.
	OutWidth, ErrWidth func() int
	OutHeight          func() int // the same in lines
	// Dumb: the terminal cannot redraw a line.
	Dumb bool

	Format Format // of results
	Now    func() time.Time

	oneLine  bool // JSON takes one line
	out, err *lipgloss.Renderer
}

// ColorMode is the value of --color.
type ColorMode string

// The colour modes.
const (
	ColorAuto   ColorMode = "auto"
	ColorAlways ColorMode = "always"
	ColorNever  ColorMode = "never"
)

// System returns the process's own terminal. getenv returns NO_COLOR,
// CLICOLOR_FORCE and TERM.
func System(getenv func(string) string) *IO {
	c := &IO{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		InTTY:    term.IsTerminal(int(os.Stdin.Fd())),
		OutTTY:   term.IsTerminal(int(os.Stdout.Fd())),
		ErrTTY:   term.IsTerminal(int(os.Stderr.Fd())),
		OutWidth: widthOf(os.Stdout), ErrWidth: widthOf(os.Stderr), OutHeight: heightOf(os.Stdout),
		Dumb: getenv("TERM") == "dumb",
		Now:  time.Now,
	}
	c.SetColor(ColorAuto, getenv)
	return c
}

// SetColor decides on colour for each stream: the mode comes first, then
// NO_COLOR, CLICOLOR_FORCE and TERM=dumb, then whether it is a terminal.
// Colours are the sixteen of the terminal's theme.
func (c *IO) SetColor(mode ColorMode, getenv func(string) string) {
	profile := func(tty bool) termenv.Profile {
		switch {
		case mode == ColorNever:
			return termenv.Ascii
		case mode == ColorAlways:
			return termenv.ANSI
		case getenv("NO_COLOR") != "":
			return termenv.Ascii
		case getenv("CLICOLOR_FORCE") != "" && getenv("CLICOLOR_FORCE") != "0":
			return termenv.ANSI
		case getenv("TERM") == "dumb" || !tty:
			return termenv.Ascii
		}
		return termenv.ANSI
	}
	c.out = renderer(c.Out, profile(c.OutTTY))
	c.err = renderer(c.Err, profile(c.ErrTTY))
}

// renderer never queries the terminal: a query would consume typed input.
func renderer(w io.Writer, p termenv.Profile) *lipgloss.Renderer {
	r := lipgloss.NewRenderer(w, termenv.WithProfile(p))
	r.SetColorProfile(p)
	r.SetHasDarkBackground(true)
	return r
}

// Tone is the meaning of a colour; the text always says the same.
type Tone int

// The tones.
const (
	Plain Tone = iota
	Good
	Warn
	Bad
	Dim
	Strong
)

func style(r *lipgloss.Renderer, t Tone) lipgloss.Style {
	s := r.NewStyle()
	switch t {
	case Good:
		return s.Foreground(lipgloss.Color("2"))
	case Warn:
		return s.Foreground(lipgloss.Color("3"))
	case Bad:
		return s.Foreground(lipgloss.Color("1")).Bold(true)
	case Dim:
		return s.Faint(true)
	case Strong:
		return s.Bold(true)
	}
	return s
}

// Paint colours text meant for stdout.
func (c *IO) Paint(t Tone, text string) string { return style(c.out, t).Render(text) }

// PaintErr colours text meant for stderr.
func (c *IO) PaintErr(t Tone, text string) string { return style(c.err, t).Render(text) }

// Notef writes a note to stderr, unless stderr is for a program.
func (c *IO) Notef(format string, args ...any) {
	if !c.ErrStructured() {
		c.printErr(c.PaintErr(Dim, visible(fmt.Sprintf(format, args...))))
	}
}

// printErr writes a line to stderr, wrapped on a terminal.
func (c *IO) printErr(text string) {
	fmt.Fprintln(c.Err, wrap("", text, c.errWidth()))
}

// Println writes a line of prose to stdout. Results go through Render.
func (c *IO) Println(text string) {
	fmt.Fprintln(c.Out, strings.TrimRight(text, " "))
}

// Para writes prose to stdout after a label. On a terminal it is wrapped at the
// edge, and continued lines are indented by the label.
func (c *IO) Para(label, text string) { c.Println(wrap(label, text, c.outWidth())) }
