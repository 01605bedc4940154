package chaos_test

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
)

// The page needs nothing else, shows all that was found and every fault, and what
// it shows cannot be markup.
func TestWriteHTML(t *testing.T) {
	h := &check.History{Answers: []check.Answer{{Order: "<script>order</script>", Outcome: check.Accepted}}}
	r := &chaos.Result{
		Config: embedded(), Began: time.Unix(0, 0), Took: 90 * time.Second, History: h, Report: check.Judge(h), Crashes: []string{"relay-2 ended"},
		Timeline: []chaos.Point{{}, {At: 45 * time.Second, Unpublished: 7, Unapplied: 9, Lag: 3 * time.Second}, {At: 90 * time.Second}},
	}
	r.Config.Faults = r.Config.Plan().Schedule()
	for _, f := range r.Config.Faults {
		r.Faults = append(r.Faults, chaos.Injected{Fault: f, Began: f.At, Ended: f.At + f.For, Recovery: time.Second})
	}
	var out bytes.Buffer
	if err := r.WriteHTML(&out); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	for _, foreign := range []string{"m0s", "<script", "http://", "https://", "src=", "@import", "ZgotmplZ"} {
		if strings.Contains(page, foreign) {
			t.Errorf("the page contains %s", foreign)
		}
	}
	for _, want := range []string{"violated", "answeredButAbsent", "&lt;script&gt;order", "relay-2 ended", "up to 7 events", "up to 3 s", "<polyline",
		`<text x="970" y="12" text-anchor="middle">1m30s</text>`} { // of 1000: the last label ends before the edge
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if n := strings.Count(page, "<rect "); n != len(r.Faults) {
		t.Errorf("%d faults are drawn, want %d", n, len(r.Faults))
	}
	for _, drawing := range strings.SplitAfter(page, "</svg>") {
		if start := strings.Index(drawing, "<svg"); start >= 0 {
			wellFormed(t, drawing[start:])
		}
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := decoder.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("%v in %.200s", err, text)
		}
	}
}
