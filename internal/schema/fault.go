package schema

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Schema is a compiled schema, safe for concurrent use.
type Schema struct{ compiled *jsonschema.Schema }

// Fault is what makes a document invalid.
type Fault struct {
	Path    string // of the value in the document, such as $.lines[2].amount
	Rule    string // the keyword that it breaks, such as required
	Problem string
}

func (f Fault) String() string { return f.Path + ": " + f.Problem }

// Validate returns the faults of a decoded document; nil: it is valid. It neither
// changes nor keeps it.
func (s *Schema) Validate(document any) []Fault {
	err := s.compiled.Validate(document)
	if err == nil {
		return nil
	}
	invalid, ok := err.(*jsonschema.ValidationError)
	if !ok {
		return []Fault{{Path: "$", Problem: err.Error()}}
	}
	return collect(nil, invalid, document)
}

// Valid reports whether a decoded document is valid.
func (s *Schema) Valid(document any) bool { return s.compiled.Validate(document) == nil }

// collect adds the innermost faults to a list. Where no alternative holds, the
// alternatives are one fault.
func collect(faults []Fault, e *jsonschema.ValidationError, document any) []Fault {
	switch e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		problem := text(e)
		for i, cause := range e.Causes {
			inner := deepest(cause)
			problem += fmt.Sprintf("; %d: %s: %s", i+1, Path(document, inner.InstanceLocation), text(inner))
		}
		return append(faults, Fault{Path(document, e.InstanceLocation), keyword(e), clip(problem)})
	}
	if len(e.Causes) == 0 {
		return append(faults, Fault{Path(document, e.InstanceLocation), keyword(e), text(e)})
	}
	for _, cause := range e.Causes {
		faults = collect(faults, cause, document)
	}
	return faults
}

func keyword(e *jsonschema.ValidationError) string {
	for _, token := range e.ErrorKind.KeywordPath() {
		return token
	}
	return ""
}

// deepest returns the first innermost cause.
func deepest(e *jsonschema.ValidationError) *jsonschema.ValidationError {
	for len(e.Causes) > 0 {
		e = e.Causes[0]
	}
	return e
}

var english = message.NewPrinter(language.English)

// maxProblem bounds a text that quotes the document.
const maxProblem = 300

func text(e *jsonschema.ValidationError) string {
	if _, never := e.ErrorKind.(*kind.FalseSchema); never {
		return "nothing is allowed here"
	}
	return clip(e.ErrorKind.LocalizedString(english))
}

func clip(s string) string {
	if len(s) <= maxProblem {
		return s
	}
	return strings.ToValidUTF8(s[:maxProblem], "") + "..."
}

func pointerOf(tokens []string) string {
	var b strings.Builder
	for _, token := range tokens {
		b.WriteString("/" + Escape(token))
	}
	return b.String()
}

var simpleName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// Path returns the JSON path of a place in a document.
func Path(document any, tokens []string) string {
	var b strings.Builder
	b.WriteString("$")
	for _, token := range tokens {
		switch v := document.(type) {
		case []any:
			b.WriteString("[" + token + "]")
			document = nil
			if i, err := strconv.Atoi(token); err == nil && i < len(v) {
				document = v[i]
			}
			continue
		case map[string]any:
			document = v[token]
		default:
			document = nil
		}
		b.WriteString(Step(clip(token)))
	}
	return b.String()
}

// Step returns the step of a JSON path to a member of an object.
func Step(name string) string {
	if simpleName.MatchString(name) {
		return "." + name
	}
	return "[" + strconv.Quote(name) + "]"
}
