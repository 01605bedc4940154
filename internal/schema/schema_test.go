package schema_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/asimalizada/pulse-events/internal/schema"
)

// compile returns a schema of a library with one file.
func compile(t testing.TB, text string) *schema.Schema {
	t.Helper()
	s, err := library(map[string]string{"t/1.json": text}).Compile("t/1.json", "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func library(files map[string]string) *schema.Library {
	dir := fstest.MapFS{}
	for name, text := range files {
		dir[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return schema.NewLibrary(dir)
}

func decode(t testing.TB, text string) any {
	t.Helper()
	v, err := schema.Decode([]byte(text), 32<<20)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestFaultsNamePathAndRule(t *testing.T) {
	s := compile(t, `{"type":"object","required":["id"],"properties":{"id":{"type":"string","format":"uuid"},
		"lines":{"type":"array","items":{"type":"object","properties":{"amount":{"type":"number","minimum":0}}}},
		"kind":{"anyOf":[{"const":"a"},{"type":"integer"}]}}}`)
	for _, c := range []struct{ document, path, rule string }{
		{`{"lines":[]}`, "$", "required"},
		{`{"id":"x"}`, "$.id", "format"},
		{`{"id":"0198c0de-7a11-7c3e-9d02-5b1f0a6e4d21","lines":[{},{"amount":-1}]}`, "$.lines[1].amount", "minimum"},
		{`{"id":"0198c0de-7a11-7c3e-9d02-5b1f0a6e4d21","kind":true}`, "$.kind", "anyOf"},
		{`[]`, "$", "type"},
		{`{"id":"0198c0de-7a11-7c3e-9d02-5b1f0a6e4d21","more":1}`, "", ""},
	} {
		faults := s.Validate(decode(t, c.document))
		if c.path == "" {
			if len(faults) > 0 {
				t.Errorf("%s: %v", c.document, faults)
			}
			continue
		}
		if len(faults) != 1 || faults[0].Path != c.path || faults[0].Rule != c.rule || faults[0].Problem == "" {
			t.Errorf("%s: %+v; want %s at %s", c.document, faults, c.rule, c.path)
		}
	}
}

func TestUnusableSchemas(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"syntax":          {"{\n  \"type\": \"object\",\n  ]", "t/1.json: no JSON: invalid character ']' looking for beginning of object key string (line 3, column 3)"},
		"no schema":       {`"text"`, "t/1.json: a schema is an object"},
		"other draft":     {`{"$schema":"http://json-schema.org/draft-07/schema#"}`, "#/$schema"},
		"wrong value":     {`{"properties":{"a":{"type":"strin"}}}`, "t/1.json: #/properties/a/type"},
		"lookahead":       {`{"properties":{"a":{"pattern":"(?=x)"}}}`, "#/properties/a/pattern"},
		"network":         {`{"properties":{"a":{"$ref":"https://example.com/a.json"}}}`, "t/1.json: #/properties/a/$ref: \"https://example.com/a.json\" leads out of the directory of contracts; nothing is read from the network"},
		"file URL":        {`{"$ref":"file:///etc/passwd"}`, "leads out of the directory"},
		"outside":         {`{"$ref":"../../a.json"}`, "leads out of the directory"},
		"absolute":        {`{"$ref":"/etc/passwd"}`, "leads out of the directory"},
		"network in id":   {`{"properties":{"a":{"$id":"https://example.com/a.json","$ref":"b.json"}}}`, "#/properties/a/$id"},
		"missing file":    {`{"$ref":"../_shared/none.json"}`, "_shared/none.json"},
		"missing pointer": {`{"$ref":"#/$defs/none"}`, "none"},
		"deep":            {strings.Repeat("[", 1000), "nested more than 100 deep"},
	} {
		_, err := library(map[string]string{"t/1.json": c.text}).Compile("t/1.json", "")
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %q", name, err, c.says)
		}
	}
}

func TestReferencesBetweenFiles(t *testing.T) {
	s, err := library(map[string]string{
		"a.b/1.json":         `{"$id":"https://example.com/order","properties":{"total":{"$ref":"../_shared/money.json#/$defs/money"}}}`,
		"_shared/money.json": `{"$defs":{"money":{"type":"object","required":["amount"],"properties":{"amount":{"type":"number"}}}}}`,
	}).Compile("a.b/1.json", "")
	if err != nil {
		t.Fatal(err)
	}
	if faults := s.Validate(decode(t, `{"total":{"amount":"1"}}`)); len(faults) != 1 || faults[0].Path != "$.total.amount" {
		t.Errorf("faults %v", faults)
	}
}

// Large and hostile documents are refused or checked in bounded time and memory.
func TestHostileDocuments(t *testing.T) {
	for name, document := range map[string]string{
		"deep":               strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200),
		"exponent":           `{"a":1e999999999}`,
		"negative exponent":  `{"a":1E-999999999}`,
		"digits":             `{"a":1` + strings.Repeat("0", 1000) + `}`,
		"values":             "[" + strings.Repeat("1,", schema.MaxValues) + "1]",
		"bytes":              `"` + strings.Repeat("x", 1<<20) + `"`,
		"exponent too large": `1e99999999999999999999999`,
	} {
		if _, err := schema.Decode([]byte(document), 1<<20); err == nil {
			t.Errorf("%s: accepted", name)
		} else if _, ok := err.(*schema.LimitError); !ok {
			t.Errorf("%s: %v; want a LimitError", name, err)
		}
	}
	for _, text := range []string{``, `{`, `{"a":1}x`, `{"a":"\`, `1e`, `{"a":-}`, "\x00"} {
		if _, err := schema.Decode([]byte(text), 1<<20); err == nil || !strings.Contains(err.Error(), "no JSON") {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{`1e400`, `-0.5E-3`, `{"1e999999999":"1e999999999\""}`} {
		if _, err := schema.Decode([]byte(text), 1<<20); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A pattern that takes exponential time where an engine backtracks takes linear
// time here: this test would not end otherwise. (Ten megabytes take seconds; see
// BenchmarkBacktrackingPattern.)
func TestBacktrackingPattern(t *testing.T) {
	s := compile(t, `{"type":"string","pattern":"^(a|a)*(a+)+$"}`)
	document := decode(t, `"`+strings.Repeat("a", 16<<10)+`!"`)
	faults := s.Validate(document)
	if len(faults) != 1 || faults[0].Rule != "pattern" || len(faults[0].Problem) > 400 {
		t.Errorf("faults %.500v", faults)
	}
}

func BenchmarkBacktrackingPattern(b *testing.B) {
	s := compile(b, `{"type":"string","pattern":"^(a|a)*(a+)+$"}`)
	document := []byte(`"` + strings.Repeat("a", 10<<20) + `!"`)
	for b.Loop() {
		value, err := schema.Decode(document, 16<<20)
		if err != nil || s.Valid(value) {
			b.Fatal(err)
		}
	}
}

func TestClosed(t *testing.T) {
	const shared = `{"$defs":{"money":{"type":"object","properties":{"amount":{"type":"number"}}}}}`
	for _, c := range []struct {
		schema          string
		accepts, refuse string // documents that the schema as it stands accepts
	}{
		{`{"properties":{"a":{}}}`, `{"a":1}`, `{"b":1}`},
		{`{"type":"object"}`, `{"b":1}`, ``},
		{`{"properties":{"a":{}},"additionalProperties":{"type":"string"}}`, `{"b":"x"}`, ``},
		{`{"properties":{"a":{"properties":{"x":{}}}}}`, `{"a":{"x":1}}`, `{"a":{"y":1}}`},
		{`{"items":{"properties":{"x":{}}}}`, `[{"x":1}]`, `[{"y":1}]`},
		{`{"allOf":[{"properties":{"a":{}}},{"properties":{"b":{}}}]}`, `{"a":1,"b":2}`, `{"c":1}`},
		{`{"properties":{"m":{"$ref":"../_shared/m.json#/$defs/money"}}}`, `{"m":{"amount":1}}`, `{"m":{"currency":"EUR"}}`},
		{`{"$ref":"#/$defs/a","$defs":{"a":{"properties":{"a":{}}}}}`, `{"a":1}`, `{"b":1}`},
		// Below oneOf and not a stricter schema would accept more.
		{`{"oneOf":[{"properties":{"a":{"properties":{"x":{}}}},"required":["a"]},{"required":["b"]}]}`, `{"a":{"y":1}}`, `{"a":{},"c":1}`},
		{`{"not":{"properties":{"a":{"properties":{"x":{}}}},"required":["a"]}}`, `{"b":{"y":1}}`, ``},
		{`{"not":{"$ref":"#/$defs/o"},"properties":{"p":{"$ref":"#/$defs/o"}},"$defs":{"o":{"required":["q"],"properties":{"q":{"properties":{"x":{}}}}}}}`,
			`{"p":{"q":{"y":1}}}`, `{"r":1}`},
	} {
		l := library(map[string]string{"t/1.json": c.schema, "_shared/m.json": shared})
		open, err := l.Compile("t/1.json", "")
		if err != nil {
			t.Fatal(err)
		}
		l, err = l.Closed("t/1.json")
		if err != nil {
			t.Fatal(err)
		}
		closed, err := l.Compile("t/1.json", "")
		if err != nil {
			t.Fatalf("%s: %v", c.schema, err)
		}
		if faults := closed.Validate(decode(t, c.accepts)); len(faults) > 0 {
			t.Errorf("%s refuses %s: %v", c.schema, c.accepts, faults)
		}
		if c.refuse == "" {
			continue
		}
		if faults := open.Validate(decode(t, c.refuse)); len(faults) > 0 {
			t.Fatalf("%s, open, refuses %s: %v", c.schema, c.refuse, faults)
		}
		if closed.Valid(decode(t, c.refuse)) {
			t.Errorf("%s accepts %s", c.schema, c.refuse)
		}
	}
}

func Example() {
	l := schema.NewLibrary(nil)
	if err := l.Add("t.json", map[string]any{"maxLength": json.Number("2")}); err != nil {
		fmt.Println(err)
	}
	s, err := l.Compile("t.json", "")
	fmt.Println(s.Validate("long"), err)
	// Output: [$: maxLength: got 4, want 2] <nil>
}
