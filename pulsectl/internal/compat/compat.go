// Package compat decides whether documents that are valid by one JSON Schema are
// valid by another. It proves that by the rules of docs/contracts.md, or refutes it
// with a document, or does neither and says so.
package compat

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/asimalizada/pulse-events/internal/schema"
)

// Schema is a schema in a directory of contracts.
type Schema struct {
	Library *schema.Library
	File    string
}

// In returns the schema of a file in a directory.
func In(dir fs.FS, file string) Schema { return Schema{schema.NewLibrary(dir), file} }

// Verdict says what is known of a Refusal.
type Verdict string

// The verdicts.
const (
	Breaking Verdict = "breaking" // there is a counterexample
	Unproven Verdict = "unproven" // there is neither a proof nor a counterexample
)

// Refusal is a rule by which documents of one schema may be invalid by the other.
type Refusal struct {
	Path           string // of the value in a document, such as $.lines[*].amount
	Rule           string // the keyword
	Problem        string
	Verdict        Verdict
	Counterexample json.RawMessage // valid by the writers' schema, invalid by the readers'; nil unless Breaking
	Fault          string          // what the readers' schema says of it
}

// Options of Check.
type Options struct {
	// AnyProperties: writers may write properties that their schema does not
	// declare, as JSON Schema allows them.
	AnyProperties bool
}

// steps bounds the work of one proof.
const steps = 50_000

// Check proves that every document that is valid by the schema of the writers is
// valid by that of the readers. No refusal: it is proven. An error is about a
// schema that cannot be read.
func Check(writers, readers Schema, o Options) ([]Refusal, error) {
	c := &checker{budget: steps, compiled: make(map[place]*schema.Schema), b: readers.Library}
	var problems []problem
	for _, s := range []Schema{writers, readers} {
		unknown, err := s.Library.Unknown(s.File)
		if err != nil {
			return nil, err
		}
		for _, keyword := range unknown {
			problems = append(problems, problem{path: "#" + keyword, rule: "unknown", text: "a keyword without a known meaning"})
		}
	}
	c.a = writers.Library
	if !o.AnyProperties {
		closed, err := writers.Library.Closed(writers.File)
		if err != nil {
			return nil, err
		}
		c.a = closed
	}
	var err error
	if c.validA, err = c.a.Compile(writers.File, ""); err != nil {
		return nil, err
	}
	if c.validB, err = c.b.Compile(readers.File, ""); err != nil {
		return nil, err
	}
	docA, err := c.a.Document(writers.File)
	if err != nil {
		return nil, err
	}
	docB, err := c.b.Document(readers.File)
	if err != nil {
		return nil, err
	}
	root := where{path: "$", wrap: func(v any) []any { return []any{v} }}
	problems = append(problems, c.prove(c.flatten(node{docA, place{writers.File, "", left}}), node{docB, place{readers.File, "", right}}, root)...)
	if c.budget <= 0 {
		problems = append(problems, problem{path: "$", rule: "size", text: "the schemas are too intricate to be compared"})
	}
	return c.refusals(problems), nil
}

// refusals looks for the counterexamples of problems.
func (c *checker) refusals(problems []problem) (refusals []Refusal) {
	type key struct{ path, rule, text string }
	seen := make(map[key]bool)
	for _, p := range problems {
		if k := (key{p.path, p.rule, p.text}); seen[k] {
			continue
		} else {
			seen[k] = true
		}
		r := Refusal{Path: p.path, Rule: p.rule, Problem: p.text, Verdict: Unproven}
		if document, fault, found := c.counterexample(p); found {
			r.Verdict, r.Counterexample, r.Fault = Breaking, document, fault
		}
		refusals = append(refusals, r)
	}
	return refusals
}

// tried bounds the documents that are tried for one problem.
const tried = 20_000

// deepest bounds how deep in a document the candidates differ.
const deepest = 3

// counterexample returns a document that is valid by the writers' schema and
// invalid by the readers', by the validator's judgement.
func (c *checker) counterexample(p problem) (document json.RawMessage, fault string, found bool) {
	if p.candidates == nil {
		return nil, "", false
	}
	seen := make(map[string]bool)
	for depth := 1; depth <= deepest; depth++ {
		c.budget = steps
		for _, candidate := range p.candidates(depth) {
			text := encode(candidate)
			if seen[string(text)] || len(seen) == tried {
				continue
			}
			seen[string(text)] = true
			value, err := schema.Decode(text, 1<<20) // as a consumer gets it
			if err != nil || !c.validA.Valid(value) {
				continue
			}
			if faults := c.validB.Validate(value); len(faults) > 0 {
				fault := faults[0]
				for _, f := range faults {
					if f.Rule == p.rule {
						fault = f
						break
					}
				}
				return text, fault.String(), true
			}
		}
	}
	return nil, "", false
}

// problem is a rule that could not be proven.
type problem struct {
	path, rule, text string
	candidates       func(depth int) []any // whole documents; nil: there are none to try
}

// where is a place in a document.
type where struct {
	path  string
	wrap  func(v any) []any // returns whole documents with v at that place
	depth int
}

func (w where) problem(rule, format string, args ...any) problem {
	return problem{path: w.path, rule: rule, text: fmt.Sprintf(format, args...)}
}

// side tells the libraries apart.
type side bool

const (
	left  side = false // the writers'
	right side = true  // the readers'
)

// place is where a schema stands.
type place struct {
	file, pointer string
	side          side
}

func (p place) under(tokens ...string) place {
	for _, t := range tokens {
		p.pointer += "/" + schema.Escape(t)
	}
	return p
}

// node is a schema: an object, true or false.
type node struct {
	value any
	at    place
}

type checker struct {
	a, b           *schema.Library
	validA, validB *schema.Schema
	compiled       map[place]*schema.Schema
	stack          []assumption
	budget         int
}

// assumption is what is being proven; inside, at a part of the document, it may
// be assumed.
type assumption struct {
	key   string
	depth int
}

func (c *checker) library(s side) *schema.Library {
	if s == left {
		return c.a
	}
	return c.b
}

// valid reports whether a value is valid by the schema at a place. Where that
// cannot be said, it is so for the writers' schemas alone.
func (c *checker) valid(at place, value any) bool {
	s, known := c.compiled[at]
	if !known {
		s, _ = c.library(at.side).Compile(at.file, at.pointer)
		c.compiled[at] = s
	}
	if s == nil {
		return at.side == left
	}
	return s.Valid(value)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
