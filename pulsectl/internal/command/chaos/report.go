package chaos

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
)

// Files in the directory of a run.
const (
	reportFile  = "report.json"
	historyFile = "history.json"
	pageFile    = "report.html"
)

// count is a column with a number that is bad unless it is 0.
func count(key string, kinds ...check.Kind) console.Column[*chaos.Result] {
	return console.Column[*chaos.Result]{
		Key: key, Value: func(r *chaos.Result) any { return r.Report.Count(kinds...) },
		Tone: func(r *chaos.Result) console.Tone {
			if r.Report.Count(kinds...) > 0 {
				return console.Bad
			}
			return console.Plain
		},
	}
}

// number is a column with a number.
func number(key string, value func(r *chaos.Result) any) console.Column[*chaos.Result] {
	return console.Column[*chaos.Result]{Key: key, Value: value}
}

// detail is a column of JSON alone.
func detail(key string, value func(r *chaos.Result) any) console.Column[*chaos.Result] {
	return console.Column[*chaos.Result]{Key: key, Value: value, Only: true}
}

var columns = []console.Column[*chaos.Result]{
	number("seed", func(r *chaos.Result) any { return r.Config.Seed }),
	number("faults", func(r *chaos.Result) any { return len(r.Faults) - r.Skipped() }),
	number("orders", func(r *chaos.Result) any { return r.Report.Orders }),
	number("published", func(r *chaos.Result) any { return r.Report.OrdersPublished }),
	number("applied", func(r *chaos.Result) any { return r.Report.Applied }),
	number("followUps", func(r *chaos.Result) any { return r.Report.FollowUps }),
	number("copies", func(r *chaos.Result) any { return r.Report.Copies }),
	number("replayed", func(r *chaos.Result) any { return r.Report.Replayed }),
	number("dead", func(r *chaos.Result) any { return r.Report.Dead }),
	number("deadLettered", func(r *chaos.Result) any { return r.Report.DeadLettered }),
	count("lost", check.AnsweredAbsent, check.NoEvent, check.NeverPublished, check.Lost),
	count("duplicated", check.Duplicated, check.ReplayApplied),
	count("ghosts", check.Ghost, check.RefusedPresent),
	count("outOfOrder", check.OutOfOrder, check.BeforeCause, check.WrongCause),
	count("inconsistent", check.HalfApplied, check.Altered),
	number("recoverySeconds", func(r *chaos.Result) any { return seconds(r.Recovery().Seconds()) }),
	number("settleSeconds", func(r *chaos.Result) any { return seconds(r.Settled.Seconds()) }),
	{Key: "verdict", Value: func(r *chaos.Result) any { return string(r.Verdict()) }, ID: true, Tone: func(r *chaos.Result) console.Tone {
		switch r.Verdict() {
		case check.Clean:
			return console.Good
		case check.Unsettled:
			return console.Warn
		}
		return console.Bad
	}},
	detail("restored", func(r *chaos.Result) any { return r.Report.Restored }),
	detail("skipped", func(r *chaos.Result) any { return r.Skipped() }),
	detail("accepted", func(r *chaos.Result) any { return r.Report.Accepted }),
	detail("refused", func(r *chaos.Result) any { return r.Report.Refused }),
	detail("unanswered", func(r *chaos.Result) any { return r.Report.Unknown }),
	detail("pending", func(r *chaos.Result) any { return r.Report.Pending }),
	detail("queued", func(r *chaos.Result) any { return r.Report.Queued }),
	detail("waiting", func(r *chaos.Result) any { return r.Waiting }),
	detail("findings", func(r *chaos.Result) any { return findings(r) }),
	detail("crashes", func(r *chaos.Result) any { return append([]string{}, r.Crashes...) }),
	detail("recoveries", func(r *chaos.Result) any { return recoveries(r) }),
	detail("duration", func(r *chaos.Result) any { return r.Config.Record().Duration }),
	detail("rate", func(r *chaos.Result) any { return r.Config.Rate }),
	detail("relays", func(r *chaos.Result) any { return r.Config.Relays }),
	detail("consumers", func(r *chaos.Result) any { return r.Config.Consumers }),
	detail("schedule", func(r *chaos.Result) any { return append([]chaos.Fault{}, r.Config.Faults...) }),
}

// seconds rounds to milliseconds.
func seconds(s float64) float64 { return float64(int64(s*1000+0.5)) / 1000 }

type findingJSON struct {
	Kind    check.Kind `json:"kind"`
	Meaning string     `json:"meaning"`
	IDs     []string   `json:"ids"`
}

func findings(r *chaos.Result) []findingJSON {
	all := []findingJSON{}
	for _, f := range r.Report.Findings {
		all = append(all, findingJSON{f.Kind, f.Kind.Meaning(), f.IDs})
	}
	return all
}

type recoveryJSON struct {
	Kind            chaos.Kind `json:"kind"`
	Target          string     `json:"target"`
	BeganSeconds    float64    `json:"beganSeconds"`
	EndedSeconds    float64    `json:"endedSeconds"`
	RecoverySeconds float64    `json:"recoverySeconds"`
	Skipped         bool       `json:"skipped,omitempty"`
	Error           string     `json:"error,omitempty"`
}

func recoveries(r *chaos.Result) []recoveryJSON {
	all := []recoveryJSON{}
	for _, f := range r.Faults {
		all = append(all, recoveryJSON{f.Kind, f.Target, seconds(f.Began.Seconds()), seconds(f.Ended.Seconds()), seconds(f.Recovery.Seconds()), f.Skipped, f.Error})
	}
	return all
}

// save writes report and history into the directory of the run.
func save(dir string, r *chaos.Result) error {
	return errors.Join(
		write(dir, reportFile, func(w io.Writer) error {
			return console.RenderOne(&console.IO{Out: w, Format: console.JSON}, columns, r)
		}),
		write(dir, historyFile, func(w io.Writer) error { return json.NewEncoder(w).Encode(r.History) }),
		write(dir, pageFile, r.WriteHTML),
	)
}

func write(dir, name string, content func(io.Writer) error) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(content(f), f.Close())
}
