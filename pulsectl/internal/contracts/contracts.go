// Package contracts compares contracts with their history, and with the messages
// that still wait to be read.
package contracts

import (
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/asimalizada/pulse-events/internal/schema"
	"github.com/asimalizada/pulse-events/outbox/wire/contract"
	"github.com/asimalizada/pulse-events/pulsectl/internal/compat"
)

// Mode says who has to understand whom after a change.
type Mode string

// The modes.
const (
	Backward Mode = "backward" // readers with the new schema read what was written by the old one: a consumer's role
	Forward  Mode = "forward"  // readers with the old schema read what is written by the new one: a producer's role
	Full     Mode = "full"     // both
)

// Refusal is a change that may break somebody.
type Refusal struct {
	compat.Refusal
	Contract  string // that was changed, such as order.created/2
	Against   string // what it was compared with
	Direction Mode   // Backward or Forward
	Accepted  bool   // by Options.Accept
}

// Compare compares two schemas in a mode.
func Compare(old, changed compat.Schema, mode Mode, o compat.Options) ([]Refusal, error) {
	var all []Refusal
	for _, d := range []struct {
		direction        Mode
		writers, readers compat.Schema
	}{{Backward, old, changed}, {Forward, changed, old}} {
		if mode != Full && mode != d.direction {
			continue
		}
		refusals, err := compat.Check(d.writers, d.readers, o)
		if err != nil {
			return nil, err
		}
		for _, r := range refusals {
			all = append(all, Refusal{Refusal: r, Direction: d.direction})
		}
	}
	return all, nil
}

// Options of Check.
type Options struct {
	compat.Options
	Mode       Mode
	Transitive bool     // compare a new version with all versions before it
	Accept     []string // contracts whose refusals are accepted, such as order.created/2
}

// Report is the result of Check.
type Report struct {
	Compared int // pairs of schemas
	Refusals []Refusal
}

// Check compares the contracts in a directory with those that there were. A
// version that exists already must mean the same to everybody: it is compared in
// both directions, and must not be removed. A new version is compared in the mode
// with the one before it.
func Check(before, now fs.FS, o Options) (Report, error) {
	var report Report
	earlier, err := contract.List(before)
	if err != nil {
		return report, err
	}
	present, err := contract.List(now)
	if err != nil {
		return report, err
	}
	add := func(c contract.Contract, against string, old, changed compat.Schema, mode Mode) error {
		refusals, err := Compare(old, changed, mode, o.Options)
		if err != nil {
			return err
		}
		report.Compared++
		for _, r := range refusals {
			r.Contract, r.Against, r.Accepted = c.String(), against, slices.Contains(o.Accept, c.String())
			report.Refusals = append(report.Refusals, r)
		}
		return nil
	}
	for _, c := range earlier {
		at := slices.IndexFunc(present, func(p contract.Contract) bool { return p.Name == c.Name && p.Version == c.Version })
		if at < 0 {
			gone := compat.Schema{Library: schema.NewLibrary(nil), File: c.File}
			if err := gone.Library.Add(c.File, false); err != nil {
				return report, err
			}
			report.Compared++
			found, err := compat.Check(compat.In(before, c.File), gone, o.Options)
			if err != nil {
				return report, err
			}
			for _, r := range found {
				r.Rule, r.Problem, r.Fault = "removed", "messages of this version may still wait, and cannot be read any more", ""
				report.Refusals = append(report.Refusals, Refusal{Refusal: r, Contract: c.String(), Against: "itself", Direction: Backward, Accepted: slices.Contains(o.Accept, c.String())})
			}
			continue
		}
		if err := add(c, "itself", compat.In(before, c.File), compat.In(now, c.File), Full); err != nil {
			return report, err
		}
	}
	for i, c := range present {
		known := slices.ContainsFunc(earlier, func(e contract.Contract) bool { return e.Name == c.Name && e.Version == c.Version })
		for j := i - 1; j >= 0 && !known && present[j].Name == c.Name; j-- {
			if err := add(c, present[j].String(), compat.In(now, present[j].File), compat.In(now, c.File), o.Mode); err != nil {
				return report, err
			}
			if !o.Transitive {
				break
			}
		}
	}
	return report, nil
}

// Refused returns the refusals that nobody has accepted.
func (r Report) Refused() int {
	n := 0
	for _, refusal := range r.Refusals {
		if !refusal.Accepted {
			n++
		}
	}
	return n
}

// Unproven returns where the contracts of a directory have keywords without a known
// meaning: files and JSON pointers.
func Unproven(dir fs.FS, set *contract.Set) (places []string, err error) {
	for _, c := range set.All() {
		s := compat.In(dir, c.File)
		unknown, err := s.Library.Unknown(c.File)
		if err != nil {
			return nil, err
		}
		for _, pointer := range unknown {
			places = append(places, fmt.Sprintf("%s: #%s", path.Clean(c.File), pointer))
		}
	}
	return places, nil
}
