package compat_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/asimalizada/pulse-events/internal/schema"
	"github.com/asimalizada/pulse-events/pulsectl/internal/compat"
)

// of returns a schema that is a file by itself.
func of(text string) compat.Schema {
	return compat.In(fstest.MapFS{"t/1.json": {Data: []byte(text)}}, "t/1.json")
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		writers, readers string
		refused          string // path and rule of the refusals; * behind what is unproven
	}{
		{`{}`, `{}`, ``},
		{`true`, `true`, ``},
		{`false`, `{"type":"string"}`, ``},
		{`{"type":"string"}`, `false`, `$ false`},
		{`{"type":"integer"}`, `{"type":"number"}`, ``},
		{`{"type":"number"}`, `{"type":"integer"}`, `$ type`},
		{`{"type":["string","null"]}`, `{"type":"string"}`, `$ type`},
		{`{"type":"string"}`, `{"type":["string","null"]}`, ``},
		{`{"minimum":1}`, `{"minimum":0}`, ``},
		{`{"minimum":0}`, `{"minimum":1}`, `$ minimum`},
		{`{"exclusiveMinimum":0}`, `{"minimum":0}`, ``},
		{`{"minimum":0}`, `{"exclusiveMinimum":0}`, `$ exclusiveMinimum`},
		{`{"type":"integer","exclusiveMinimum":0}`, `{"minimum":1}`, ``},
		{`{"type":"integer","maximum":2.5}`, `{"maximum":2}`, ``},
		{`{"multipleOf":0.5}`, `{"multipleOf":0.25}`, ``},
		{`{"multipleOf":0.25}`, `{"multipleOf":0.5}`, `$ multipleOf`},
		{`{"type":"integer"}`, `{"multipleOf":0.5}`, ``},
		{`{"enum":[1,2]}`, `{"enum":[1,2,3]}`, ``},
		{`{"enum":[1,2,3]}`, `{"enum":[1,2]}`, `$ enum`},
		{`{"const":"a"}`, `{"type":"string","minLength":1}`, ``},
		{`{"type":"boolean"}`, `{"enum":[true,false]}`, ``},
		{`{"type":"string"}`, `{"const":"a"}`, `$ const`},
		{`{"type":"string","minLength":2}`, `{"minLength":1}`, ``},
		{`{"type":"string","maxLength":9}`, `{"maxLength":8}`, `$ maxLength`},
		{`{"type":"string","pattern":"^a+$"}`, `{"pattern":"^a+$"}`, ``},
		{`{"type":"string","pattern":"^a+$"}`, `{"pattern":"^a{1,2}$"}`, `$ pattern`},
		{`{"type":"string","pattern":"^ab$"}`, `{"pattern":"^(ab|ab)$"}`, `$ pattern*`},
		{`{"type":"string","format":"uuid"}`, `{"format":"uuid"}`, ``},
		{`{"type":"string"}`, `{"format":"uuid"}`, `$ format`},
		// objects
		{`{"properties":{"a":{}},"required":["a"]}`, `{"properties":{"a":{}}}`, ``},
		{`{"properties":{"a":{}}}`, `{"properties":{"a":{}},"required":["a"]}`, `$ required`},
		{`{"properties":{"a":{"type":"string"}}}`, `{"properties":{"a":{"type":"integer"}}}`, `$.a type`},
		{`{"properties":{"a":{"properties":{"b b":{"type":"string"}}}}}`, `{"properties":{"a":{"properties":{"b b":{"type":"integer"}}}}}`, `$.a["b b"] type`},
		{`{"properties":{"a":{}}}`, `{"properties":{"a":{},"b":{"type":"string"}}}`, ``}, // writers write a alone
		{`{"properties":{"a":{}},"additionalProperties":true}`, `{"properties":{"a":{},"b":{"type":"string"}}}`, `$.b type`},
		{`{"properties":{"a":{},"b":{}}}`, `{"properties":{"a":{}},"additionalProperties":false}`, `$.b false`},
		{`{"properties":{"a":{}},"additionalProperties":{"type":"integer"}}`, `{"additionalProperties":{"type":"number"},"properties":{"a":{}}}`, ``},
		{`{"properties":{"a":{}},"additionalProperties":{"type":"integer"}}`, `{"additionalProperties":{"type":"string"},"properties":{"a":{}}}`, `$.* type`},
		{`{"patternProperties":{"^x":{"type":"integer"}},"additionalProperties":false}`, `{"patternProperties":{"^x":{"type":"number"}}}`, ``},
		{`{"patternProperties":{"^x":{"type":"integer"}},"additionalProperties":false}`, `{"properties":{"xa":{"type":"string"}}}`, `$.xa type`},
		{`{"properties":{"a":{},"b":{}}}`, `{"maxProperties":2}`, ``},
		{`{"properties":{"a":{},"b":{}}}`, `{"maxProperties":1}`, `$ maxProperties`},
		{`{"required":["a"]}`, `{"minProperties":1,"type":["object","array","string","null","number","boolean"]}`, ``},
		{`{"properties":{"a":{},"b":{}}}`, `{"dependentRequired":{"a":["b"]}}`, `$ dependentRequired`},
		{`{"properties":{"b":{}}}`, `{"dependentRequired":{"a":["b"]}}`, ``},
		{`{"properties":{"ab":{}}}`, `{"propertyNames":{"pattern":"^a"}}`, ``},
		{`{"properties":{"ab":{}}}`, `{"propertyNames":{"maxLength":1}}`, `$ propertyNames`},
		// arrays
		{`{"items":{"type":"integer"}}`, `{"items":{"type":"number"}}`, ``},
		{`{"items":{"type":"number"}}`, `{"items":{"type":"integer"}}`, `$[*] type`},
		{`{"prefixItems":[{"type":"string"}],"items":false}`, `{"maxItems":1}`, `$ maxItems*`},
		{`{"prefixItems":[{"type":"string"},{"type":"null"}],"items":false}`, `{"prefixItems":[{"type":"string"},{"type":"string"}]}`, `$[1] type`},
		{`{"items":{"const":1},"minItems":1}`, `{"contains":{"const":1}}`, ``},
		{`{"items":{"type":"integer"}}`, `{"contains":{"const":1}}`, `$ contains`},
		{`{"maxItems":1}`, `{"uniqueItems":true}`, ``},
		{`{}`, `{"uniqueItems":true}`, `$ uniqueItems`},
		// in place
		{`{"allOf":[{"minimum":1},{"type":"integer"}]}`, `{"type":"number","minimum":0}`, ``},
		{`{"anyOf":[{"type":"string"},{"type":"null"}]}`, `{"type":["string","null","array"]}`, ``},
		{`{"type":["string","null"]}`, `{"anyOf":[{"type":"string"},{"type":"null"}]}`, ``},
		{`{"type":["string","null"]}`, `{"anyOf":[{"type":"string"},{"type":"integer"}]}`, `$ anyOf`},
		{`{"type":["string","null"]}`, `{"oneOf":[{"type":"string"},{"type":"null"}]}`, ``},
		{`{"type":"integer"}`, `{"oneOf":[{"type":"integer"},{"type":"number"}]}`, `$ oneOf`},
		{`{"properties":{"k":{"const":"a"}},"required":["k"],"type":"object"}`,
			`{"oneOf":[{"properties":{"k":{"const":"a"}},"required":["k"]},{"properties":{"k":{"const":"b"}},"required":["k"]}]}`, ``},
		{`{"type":"string"}`, `{"not":{"type":"null"}}`, ``},
		{`{"type":"string"}`, `{"not":{"const":"a"}}`, `$ not`},
		{`{"type":"integer","minimum":1}`, `{"if":{"type":"string"},"then":{"minLength":1},"else":{"minimum":0}}`, ``},
		{`{"type":"string"}`, `{"if":{"type":"string"},"then":{"minLength":1}}`, `$ if`},
		{`{"$ref":"#/$defs/a","$defs":{"a":{"type":"string"}}}`, `{"type":"string"}`, ``},
		// recursion
		{`{"type":"object","properties":{"next":{"$ref":"#"},"v":{"type":"integer"}}}`, `{"type":"object","properties":{"next":{"$ref":"#"},"v":{"type":"number"}}}`, ``},
		{`{"type":"object","properties":{"next":{"$ref":"#"},"v":{"type":"number"}}}`, `{"type":"object","properties":{"next":{"$ref":"#"},"v":{"type":"integer"}}}`, `$.next.v type, $.v type`},
		// without a meaning
		{`{"propertes":{}}`, `{}`, `#/propertes unknown*`},
		{`{"format":"colour"}`, `{"x-owner":"shop","title":"T"}`, `#/format unknown*`},
	} {
		refusals, err := compat.Check(of(c.writers), of(c.readers), compat.Options{})
		if err != nil {
			t.Errorf("%s, %s: %v", c.writers, c.readers, err)
			continue
		}
		var got []string
		for _, r := range refusals {
			text := r.Path + " " + r.Rule
			if r.Verdict == compat.Unproven {
				text += "*"
			}
			got = append(got, text)
			requireTrue(t, c.writers, c.readers, r)
		}
		if strings.Join(got, ", ") != c.refused {
			t.Errorf("written by %s, read by %s:\n got %q\nwant %q", c.writers, c.readers, got, c.refused)
		}
	}
}

// requireTrue fails the test if a counterexample is none.
func requireTrue(t interface {
	Helper()
	Errorf(string, ...any)
}, writers, readers string, r compat.Refusal) {
	t.Helper()
	if (r.Verdict == compat.Breaking) != (r.Counterexample != nil) {
		t.Errorf("verdict %s, counterexample %s", r.Verdict, r.Counterexample)
	}
	if r.Counterexample == nil {
		return
	}
	document, err := schema.Decode(r.Counterexample, 1<<20)
	if err != nil {
		t.Errorf("counterexample %s: %v", r.Counterexample, err)
		return
	}
	for i, text := range []string{writers, readers} {
		s, err := of(text).Library.Compile("t/1.json", "")
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if s.Valid(document) != (i == 0) {
			t.Errorf("%s as a counterexample to %s and %s, at %s: %s", r.Counterexample, writers, readers, r.Path, r.Rule)
		}
	}
}

// Without the writers' discipline an added property may have been written before.
func TestAnyProperties(t *testing.T) {
	old, changed := `{"properties":{"a":{}}}`, `{"properties":{"a":{},"b":{"type":"string"}}}`
	refusals, err := compat.Check(of(old), of(changed), compat.Options{AnyProperties: true})
	if err != nil || len(refusals) != 1 || refusals[0].Path != "$.b" || refusals[0].Verdict != compat.Breaking {
		t.Fatalf("%+v, %v", refusals, err)
	}
	requireTrue(t, old, changed, refusals[0])
}

func TestRefusalsCarryTheirDocument(t *testing.T) {
	refusals, err := compat.Check(of(`{"type":"object","required":["id"],"properties":{"id":{"type":"string","format":"uuid"},"total":{"type":"number"}}}`),
		of(`{"type":"object","required":["id","total"],"properties":{"id":{"type":"string","format":"uuid"},"total":{"type":"number","minimum":0}}}`), compat.Options{})
	if err != nil || len(refusals) != 2 {
		t.Fatalf("%+v, %v", refusals, err)
	}
	for i, want := range []string{`{"id":"0198c0de-7a11-7c3e-9d02-5b1f0a6e4d21"}`, ``} {
		var document map[string]any
		if err := json.Unmarshal(refusals[i].Counterexample, &document); err != nil || want != "" && string(refusals[i].Counterexample) != want {
			t.Errorf("counterexample %s, want %s", refusals[i].Counterexample, want)
		}
	}
}

func TestUnreadableSchema(t *testing.T) {
	if _, err := compat.Check(of(`{`), of(`{}`), compat.Options{}); err == nil || !strings.Contains(err.Error(), "t/1.json") {
		t.Errorf("error %v", err)
	}
	if _, err := compat.Check(of(`{}`), of(`{"$ref":"https://example.com"}`), compat.Options{}); err == nil || !strings.Contains(err.Error(), "network") {
		t.Errorf("error %v", err)
	}
}
