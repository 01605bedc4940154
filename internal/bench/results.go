package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Results are what a comparison has measured.
type Results struct {
	Measured string  `json:"measured"` // the date
	On       string  `json:"on"`       // what, in a line
	Groups   []Group `json:"groups"`
}

// Group is what did the same work, in turns.
type Group struct {
	Title string `json:"title"`
	Bars  []Bar  `json:"bars"`
}

// Bar is one of them.
type Bar struct {
	Name  string    `json:"name"`
	Ours  bool      `json:"ours"`
	Rate  float64   `json:"rate"`  // messages per second, the median of Turns
	Turns []float64 `json:"turns"` // in their order
}

// ReadResults reads JSON, and refuses what cannot be drawn.
func ReadResults(r io.Reader) (results Results, err error) {
	decoder := json.NewDecoder(r)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&results); err != nil {
		return Results{}, fmt.Errorf("read results: %w", err)
	}
	if len(results.Groups) == 0 {
		return Results{}, errors.New("results: no groups")
	}
	for _, g := range results.Groups {
		if len(g.Bars) == 0 {
			return Results{}, fmt.Errorf("results: %s: nothing was measured", g.Title)
		}
		for _, b := range g.Bars {
			if b.Rate <= 0 || len(b.Turns) == 0 {
				return Results{}, fmt.Errorf("results: %s: %s: no rate", g.Title, b.Name)
			}
		}
	}
	return results, nil
}

// reference is the first bar that is ours, to which the others are compared.
func (g Group) reference() float64 {
	for _, b := range g.Bars {
		if b.Ours {
			return b.Rate
		}
	}
	return g.Bars[0].Rate
}

// Table writes the results as tables of Markdown.
func (r Results) Table(w io.Writer) error {
	var out strings.Builder
	for _, g := range r.Groups {
		fmt.Fprintf(&out, "| %s | messages/s, median | of turns | first of ours / this |\n|---|---|---|---|\n", g.Title)
		for _, b := range g.Bars {
			turns := make([]string, len(b.Turns))
			for i, rate := range b.Turns {
				turns[i] = thousands(rate)
			}
			fmt.Fprintf(&out, "| %s | %s | %s | %.2f |\n", b.Name, thousands(b.Rate), strings.Join(turns, " "), g.reference()/b.Rate)
		}
		out.WriteString("\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// thousands is a whole number with commas.
func thousands(rate float64) string {
	text := fmt.Sprintf("%.0f", rate)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
