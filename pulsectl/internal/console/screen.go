package console

import (
	"bytes"
	"io"
	"math"
	"strings"
	"time"
)

// Render returns the lines that draw writes to stdout on a terminal of a width,
// for a program that draws the whole screen.
func (c *IO) Render(width int, draw func(*IO)) []string {
	var out bytes.Buffer
	onto := *c
	onto.Out, onto.OutTTY, onto.Format = &out, true, Table
	onto.OutWidth = func() int { return width }
	onto.Err, onto.ErrTTY = io.Discard, false
	draw(&onto)
	return strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
}

// Silent returns an IO that discards all output.
func (c *IO) Silent() *IO {
	silent := *c
	silent.Out, silent.Err, silent.OutTTY, silent.ErrTTY = io.Discard, io.Discard, false, false
	return &silent
}

// Line makes results of RenderOne one line of JSON.
func (c *IO) Line() *IO {
	line := *c
	line.oneLine = true
	return &line
}

// Cut shortens a text to a width in cells and marks that. Colours are kept.
func Cut(text string, width int) string { return cut(text, width) }

// Pad fills a text with blanks up to a width in cells.
func Pad(text string, width int) string { return pad(text, width) }

// Visible makes a text of a server harmless to a terminal, in one line.
func Visible(text string) string { return visible(strings.Join(strings.Fields(text), " ")) }

// Age formats how long something takes for people: 3s, 12m, 4h, 9d.
func Age(d time.Duration) string { return age(time.Time{}.Add(d), time.Time{}) }

// bars are the heights of a Sparkline.
var bars = []rune("▁▂▃▄▅▆▇█")

// Sparkline draws values as bars in the last cells of a width; the lowest bar is
// zero, the highest the maximum.
func Sparkline(values []float64, width int) string {
	values = values[max(0, len(values)-max(0, width)):]
	highest := 0.0
	for _, v := range values {
		highest = max(highest, v)
	}
	line := []rune(strings.Repeat(" ", max(0, width-len(values))))
	for _, v := range values {
		i := 0
		if highest > 0 && v > 0 {
			i = max(1, int(math.Round(v/highest*float64(len(bars)-1)))) // little is not nothing
		}
		line = append(line, bars[i])
	}
	return string(line)
}
