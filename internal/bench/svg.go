package bench

import (
	"fmt"
	"html"
	"io"
	"strings"
)

// Sizes of the chart, in pixels.
const (
	chartWidth = 760
	barsFrom   = 250
	barsTo     = 650
	barHeight  = 18
	barStep    = 25
	titleStep  = 34
	margin     = 14
)

// The colours are legible on white and on black; where the reader's choice is
// known, texts are darker or lighter.
const chartStyle = `
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #424a53 }
.title { font-weight: 600 }
.small { font-size: 11px }
.ours { fill: #1f883d }
.other { fill: #8c959f }
@media (prefers-color-scheme: dark) {
  text { fill: #d1d7e0 }
  .ours { fill: #3fb950 }
  .other { fill: #656c76 }
}
`

// SVG writes the results as a picture: a bar for each, in groups of their own
// scale.
func (r Results) SVG(w io.Writer) error {
	var out strings.Builder
	y := margin
	for _, g := range r.Groups {
		y += titleStep
		fmt.Fprintf(&out, `<text class="title" x="%d" y="%d">%s</text>`+"\n", margin, y-10, html.EscapeString(g.Title))
		most := 0.0
		for _, b := range g.Bars {
			most = max(most, b.Rate)
		}
		for _, b := range g.Bars {
			class := "other"
			if b.Ours {
				class = "ours"
			}
			width := max(1, b.Rate/most*(barsTo-barsFrom))
			fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end">%s</text>`, barsFrom-8, y+13, html.EscapeString(b.Name))
			fmt.Fprintf(&out, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, class, barsFrom, y, width, barHeight)
			fmt.Fprintf(&out, `<text x="%.1f" y="%d">%s</text>`+"\n", barsFrom+width+6, y+13, thousands(b.Rate))
			y += barStep
		}
	}
	y += titleStep / 2
	fmt.Fprintf(&out, `<text class="small" x="%d" y="%d">%s</text>`+"\n", margin, y, html.EscapeString("Messages per second, medians. "+r.On+", "+r.Measured+"."))
	y += margin
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-label="Messages per second">`+
		"\n<style>%s</style>\n%s</svg>\n", chartWidth, y, chartStyle, out.String())
	return err
}
