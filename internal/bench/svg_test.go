package bench

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

const someResults = `{"measured": "2026-01-02", "on": "2 cores", "groups": [{"title": "Drain <classic>", "bars": [
	{"name": "client", "ours": false, "rate": 20000, "turns": [20000]},
	{"name": "ours", "ours": true, "rate": 12345.6, "turns": [12000, 12345.6, 13000]},
	{"name": "theirs", "ours": false, "rate": 1000, "turns": [1000]}]}]}`

func TestChart(t *testing.T) {
	results, err := ReadResults(strings.NewReader(someResults))
	if err != nil {
		t.Fatal(err)
	}
	var svg, table strings.Builder
	if err := errors.Join(results.SVG(&svg), results.Table(&table)); err != nil {
		t.Fatal(err)
	}
	bars := 0
	for decoder := xml.NewDecoder(strings.NewReader(svg.String())); ; {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg.String())
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 3 {
		t.Errorf("%d bars, want 3", bars)
	}
	for _, want := range []string{"12,346", "Drain &lt;classic&gt;", "prefers-color-scheme: dark", "2026-01-02"} {
		if !strings.Contains(svg.String(), want) {
			t.Errorf("no %s in\n%s", want, svg.String())
		}
	}
	if want := "| theirs | 1,000 | 1,000 | 12.35 |"; !strings.Contains(table.String(), want) {
		t.Errorf("no %s in\n%s", want, table.String())
	}
}

func TestReadResultsRefusesWhatWasNotMeasured(t *testing.T) {
	for _, text := range []string{"", "{}", `{"groups":[{"title":"x","bars":[]}]}`, `{"groups":[{"title":"x","bars":[{"name":"y","rate":0,"turns":[]}]}]}`, `{"speed":1}`} {
		if _, err := ReadResults(strings.NewReader(text)); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}
