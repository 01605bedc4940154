package chaos

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
)

//go:embed report.html
var files embed.FS

var page = template.Must(template.ParseFS(files, "report.html"))

// Sizes of the drawing.
const (
	drawWidth, leftEdge    = 1000.0, 190.0
	rightEdge              = 30.0 // room for half a label
	rowHeight, chartHeight = 18.0, 120.0
)

// WriteHTML writes the report as one page that needs nothing else: the drawing is
// SVG, and there is no script.
func (r *Result) WriteHTML(w io.Writer) error {
	d := drawing{result: r, scale: (drawWidth - leftEdge - rightEdge) / max(r.Took.Seconds(), 0.001)}
	return page.Execute(w, map[string]any{
		"Result": r, "Unproven": r.Unproven(), "Injected": len(r.Faults) - r.Skipped(), "Report": r.Report, "Verdict": r.Verdict(), "Clean": r.Verdict() == check.Clean,
		"Began": r.Began.UTC().Format(time.RFC3339), "Took": clip.Duration(r.Took.Round(100 * time.Millisecond)), "Duration": clip.Duration(r.Config.Duration), "Settled": r.Settled.Round(10 * time.Millisecond),
		"Recovery": r.Recovery().Round(10 * time.Millisecond), "Width": drawWidth, "Left": leftEdge,
		"Faults": d.faults(), "FaultsHeight": float64(len(d.targets()))*rowHeight + 4, "Targets": d.rows(), "Ticks": d.ticks(),
		"Charts": []chart{
			d.chart("not published", "events", func(p Point) float64 { return float64(p.Unpublished) }),
			d.chart("not applied", "orders", func(p Point) float64 { return float64(p.Unapplied) }),
			d.chart("lag", "s", func(p Point) float64 { return p.Lag.Seconds() }),
		},
		"ChartHeight": chartHeight, "Findings": r.findings(),
	})
}

// drawing places times and values.
type drawing struct {
	result *Result
	scale  float64 // per second
}

func (d drawing) x(at time.Duration) float64 { return leftEdge + at.Seconds()*d.scale }

// targets returns what had faults, each once, in the order of the first.
func (d drawing) targets() (targets []string) {
	seen := map[string]bool{}
	for _, f := range d.result.Faults {
		if !seen[f.Target] {
			seen[f.Target] = true
			targets = append(targets, f.Target)
		}
	}
	return targets
}

type row struct {
	Name string
	Y    float64
}

func (d drawing) rows() (rows []row) {
	for i, t := range d.targets() {
		rows = append(rows, row{t, float64(i)*rowHeight + rowHeight*0.72})
	}
	return rows
}

type bar struct {
	X, Y, Width, Height float64
	Group, Title        string
}

// faults returns a bar for each fault, in the row of its target.
func (d drawing) faults() (bars []bar) {
	y := map[string]float64{}
	for i, t := range d.targets() {
		y[t] = float64(i)*rowHeight + 2
	}
	for _, f := range d.result.Faults {
		if f.Skipped {
			continue
		}
		title := fmt.Sprintf("%s, at %.1fs, recovered in %.1fs", f.Fault, f.Began.Seconds(), f.Recovery.Seconds())
		if f.Error != "" {
			title += ": " + f.Error
		}
		bars = append(bars, bar{d.x(f.Began), y[f.Target], max(2, (f.Ended-f.Began).Seconds()*d.scale), rowHeight - 4, f.Kind.group(), title})
	}
	return bars
}

type tick struct {
	X    float64
	Text string
}

// ticks returns about ten times in round numbers.
func (d drawing) ticks() (ticks []tick) {
	step := time.Second
	for _, s := range []time.Duration{2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600} {
		if d.result.Took/step > 12 {
			step = s * time.Second
		}
	}
	for at := time.Duration(0); at <= d.result.Took; at += step {
		ticks = append(ticks, tick{d.x(at), clip.Duration(at)})
	}
	return ticks
}

type chart struct {
	Name, Most string
	Line       string // points of a polyline
}

func (d drawing) chart(name, unit string, value func(Point) float64) chart {
	most := 0.0
	for _, p := range d.result.Timeline {
		most = max(most, value(p))
	}
	var line strings.Builder
	for _, p := range d.result.Timeline {
		fmt.Fprintf(&line, "%.1f,%.1f ", d.x(p.At), chartHeight-4-value(p)/max(most, 1e-9)*(chartHeight-10))
	}
	return chart{name, fmt.Sprintf("up to %.4g %s", most, unit), strings.TrimSpace(line.String())}
}

type foundHTML struct {
	Kind    check.Kind
	Meaning string
	Count   int
	IDs     []string
}

// shownIDs is how many ids of a finding the page shows.
const shownIDs = 20

func (r *Result) findings() (all []foundHTML) {
	for _, f := range r.Report.Findings {
		all = append(all, foundHTML{f.Kind, f.Kind.Meaning(), len(f.IDs), f.IDs[:min(shownIDs, len(f.IDs))]})
	}
	return all
}
