package compat_test

import (
	"encoding/json"
	"flag"
	"testing"

	"pgregory.net/rapid"

	"github.com/asimalizada/pulse-events/internal/schema"
	"github.com/asimalizada/pulse-events/pulsectl/internal/compat"
)

var names = []string{"a", "b", "c"}

// aValue draws documents from a small world, so that schemas and documents meet.
func aValue(t *rapid.T, depth int) any {
	kind := rapid.IntRange(0, 6).Draw(t, "kind")
	if depth == 0 {
		kind %= 5
	}
	switch kind {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.SampledFrom([]json.Number{"-1", "0", "0.5", "1", "1.5", "2", "3", "4"}).Draw(t, "number")
	case 3, 4:
		return rapid.SampledFrom([]string{"", "a", "b", "aa", "ab", "aaa"}).Draw(t, "text")
	case 5:
		items := make([]any, rapid.IntRange(0, 3).Draw(t, "size"))
		for i := range items {
			items[i] = aValue(t, depth-1)
		}
		return items
	}
	object := make(map[string]any)
	for _, name := range append(names, "z") {
		if rapid.Bool().Draw(t, "has "+name) {
			object[name] = aValue(t, depth-1)
		}
	}
	return object
}

func number(t *rapid.T) json.Number {
	return rapid.SampledFrom([]json.Number{"0", "0.5", "1", "2", "3"}).Draw(t, "number")
}

func whole(t *rapid.T) json.Number {
	return rapid.SampledFrom([]json.Number{"0", "1", "2", "3"}).Draw(t, "whole")
}

func someNames(t *rapid.T) (some []any) {
	some = []any{}
	for _, name := range names {
		if rapid.Bool().Draw(t, name) {
			some = append(some, name)
		}
	}
	return some
}

// aSchema draws schemas of all keywords.
func aSchema(t *rapid.T, depth int) any {
	if rapid.IntRange(0, 9).Draw(t, "trivial") == 0 {
		return rapid.IntRange(0, 3).Draw(t, "true") > 0
	}
	s := map[string]any{}
	for range rapid.IntRange(1, 4).Draw(t, "keywords") {
		addKeyword(t, s, depth)
	}
	return s
}

func schemas(t *rapid.T, depth int) []any {
	list := make([]any, rapid.IntRange(1, 3).Draw(t, "schemas"))
	for i := range list {
		list[i] = aSchema(t, depth)
	}
	return list
}

// addKeyword adds a keyword to a schema, or replaces it.
func addKeyword(t *rapid.T, s map[string]any, depth int) {
	most := 26
	if depth == 0 {
		most = 14
	}
	switch rapid.IntRange(0, most).Draw(t, "keyword") {
	case 0, 1, 2:
		s["type"] = rapid.SampledFrom([]any{"null", "boolean", "integer", "number", "string", "array", "object",
			[]any{"string", "null"}, []any{"integer", "string"}, []any{"object", "array"}}).Draw(t, "type")
	case 3:
		s["enum"] = []any{aValue(t, 1), aValue(t, 0), aValue(t, 0)}
	case 4:
		s["const"] = aValue(t, 1)
	case 5:
		s[rapid.SampledFrom([]string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}).Draw(t, "bound")] = number(t)
	case 6:
		s["multipleOf"] = rapid.SampledFrom([]json.Number{"0.5", "1", "2", "3"}).Draw(t, "multiple")
	case 7:
		s[rapid.SampledFrom([]string{"minLength", "maxLength"}).Draw(t, "length")] = whole(t)
	case 8:
		s["pattern"] = rapid.SampledFrom([]string{"^a", "b$", "^a+$"}).Draw(t, "pattern")
	case 9:
		s[rapid.SampledFrom([]string{"minItems", "maxItems", "minProperties", "maxProperties"}).Draw(t, "size")] = whole(t)
	case 10:
		s["uniqueItems"] = rapid.Bool().Draw(t, "unique")
	case 11, 12:
		s["required"] = someNames(t)
	case 13:
		s["dependentRequired"] = map[string]any{rapid.SampledFrom(names).Draw(t, "trigger"): someNames(t)}
	case 14:
		s["additionalProperties"] = false
	case 15, 16, 17:
		properties := map[string]any{}
		for _, name := range someNames(t) {
			properties[name.(string)] = aSchema(t, depth-1)
		}
		s["properties"] = properties
	case 18:
		s["additionalProperties"] = aSchema(t, depth-1)
	case 19:
		s["patternProperties"] = map[string]any{rapid.SampledFrom([]string{"^a", "b|c", "."}).Draw(t, "pattern"): aSchema(t, depth-1)}
	case 20:
		s[rapid.SampledFrom([]string{"items", "contains"}).Draw(t, "items")] = aSchema(t, depth-1)
	case 21:
		s["prefixItems"] = schemas(t, depth-1)
	case 22, 23:
		s[rapid.SampledFrom([]string{"allOf", "anyOf", "oneOf"}).Draw(t, "of")] = schemas(t, depth-1)
	case 24:
		s["not"] = aSchema(t, depth-1)
	case 25:
		s["if"], s["then"], s["else"] = aSchema(t, depth-1), aSchema(t, depth-1), aSchema(t, depth-1)
	case 26:
		switch rapid.IntRange(0, 3).Draw(t, "rare") {
		case 0:
			s["propertyNames"] = aSchema(t, depth-1)
		case 1:
			s["dependentSchemas"] = map[string]any{rapid.SampledFrom(names).Draw(t, "trigger"): aSchema(t, depth-1)}
		case 2:
			s["unevaluatedProperties"] = aSchema(t, depth-1)
		case 3:
			s["minContains"], s["contains"] = whole(t), aSchema(t, depth-1)
		}
	}
}

// changed draws a schema that is close to another.
func changed(t *rapid.T, s any, depth int) any {
	object, ok := s.(map[string]any)
	if !ok || len(object) == 0 || rapid.IntRange(0, 5).Draw(t, "new") == 0 {
		return aSchema(t, depth)
	}
	other := make(map[string]any)
	for k, v := range object {
		if rapid.IntRange(0, 4).Draw(t, "drop "+k) == 0 {
			continue
		}
		other[k] = v
		properties, isObject := v.(map[string]any)
		if k == "properties" && isObject && rapid.Bool().Draw(t, "inside") {
			inner := make(map[string]any)
			for name, p := range properties {
				inner[name] = changed(t, p, depth-1)
			}
			other[k] = inner
		}
		if k == "items" && rapid.Bool().Draw(t, "items inside") {
			other[k] = changed(t, v, depth-1)
		}
	}
	if rapid.Bool().Draw(t, "more") {
		addKeyword(t, other, depth)
	}
	return other
}

// Whatever is said to be compatible, no document of the writers is invalid for the
// readers; and every counterexample is one.
func TestNoDocumentRefutesAProof(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		// For every run of the tests; make contract-proofs draws more.
		if err := f.Value.Set("15"); err != nil {
			t.Fatal(err)
		}
	}
	proven, refuted, unproven, tried := 0, 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		a := aSchema(t, 2)
		b := changed(t, a, 2)
		if rapid.IntRange(0, 2).Draw(t, "both ways") == 0 {
			a, b = b, a
		}
		writers, readers := string(encode(t, a)), string(encode(t, b))
		any := rapid.Bool().Draw(t, "any properties")
		refusals, err := compat.Check(of(writers), of(readers), compat.Options{AnyProperties: any})
		if err != nil {
			t.Skip("no schema: ", err)
		}
		for _, r := range refusals {
			requireTrue(t, writers, readers, r)
			if r.Verdict == compat.Breaking {
				refuted++
			} else {
				unproven++
			}
		}
		if len(refusals) > 0 {
			return
		}
		proven++
		library := of(writers).Library
		if !any {
			if library, err = library.Closed("t/1.json"); err != nil {
				t.Fatal(err)
			}
		}
		valid, err := library.Compile("t/1.json", "")
		if err != nil {
			t.Fatal(err)
		}
		plain, err := of(writers).Library.Compile("t/1.json", "")
		if err != nil {
			t.Fatal(err)
		}
		accepts, err := of(readers).Library.Compile("t/1.json", "")
		if err != nil {
			t.Fatal(err)
		}
		for range 30 {
			document := aValue(t, 3)
			value, err := schema.Decode(encode(t, document), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if !valid.Valid(value) {
				continue
			}
			tried++
			if !plain.Valid(value) {
				t.Fatalf("%s is valid by the closed schema of %s alone", encode(t, document), writers)
			}
			if faults := accepts.Validate(value); len(faults) > 0 {
				t.Fatalf("written by %s, read by %s: said to be compatible; %s: %v", writers, readers, encode(t, document), faults)
			}
		}
	})
	t.Logf("%d pairs proven, tried with %d documents; refusals: %d with a counterexample, %d unproven", proven, tried, refuted, unproven)
	if proven+refuted == 0 {
		t.Error("the schemas that were drawn show nothing")
	}
}

func encode(t interface{ Fatal(...any) }, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
