package compat

import (
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// all are schemas that hold together: the writers' schema of a value, without
// references and allOf.
type all struct {
	flats []flat
	never bool // one of them is false
}

// flat is an object of keywords.
type flat struct {
	of map[string]any
	at place // with an empty file: made here
}

func (a all) and(more ...flat) all {
	a.flats = append(slices.Clip(a.flats), more...)
	return a
}

func (a all) join(b all) all {
	return all{append(slices.Clip(a.flats), b.flats...), a.never || b.never}
}

// key tells sets of schemas apart.
func (a all) key() string {
	var b strings.Builder
	for _, f := range a.flats {
		if f.at.file == "" {
			text, _ := json.Marshal(f.of)
			b.Write(text)
		}
		fmt.Fprintf(&b, "%s#%s;", f.at.file, f.at.pointer)
	}
	return b.String()
}

// flatten follows references and allOf.
func (c *checker) flatten(nodes ...node) (a all) {
	seen := make(map[place]bool)
	for len(nodes) > 0 {
		n := nodes[0]
		nodes = nodes[1:]
		object, ok := n.value.(map[string]any)
		if n.value == false {
			a.never = true
		}
		if !ok || seen[n.at] {
			continue
		}
		seen[n.at] = true
		a.flats = append(a.flats, flat{object, n.at})
		if target, ok := c.follow(n); ok {
			nodes = append(nodes, target)
		}
		for i, s := range list(object["allOf"]) {
			nodes = append(nodes, node{s, n.at.under("allOf", strconv.Itoa(i))})
		}
		if f, ok := c.undeclared(n); ok {
			a.flats = append(a.flats, f)
		}
	}
	return a
}

// follow returns what a schema refers to.
func (c *checker) follow(n node) (node, bool) {
	object, _ := n.value.(map[string]any)
	ref, given := object["$ref"].(string)
	if !given {
		return node{}, false
	}
	target, file, pointer, err := c.library(n.at.side).Resolve(n.at.file, ref)
	return node{target, place{file, pointer, n.at.side}}, err == nil
}

// inPlace are keywords whose schemas are about the same value.
var inPlace = []string{"allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas", "$ref"}

// undeclared returns what unevaluatedProperties says of names that no schema of
// the object declares, as additionalProperties of one that declares them all. It
// says nothing where others have a say in such names.
func (c *checker) undeclared(n node) (flat, bool) {
	object, _ := n.value.(map[string]any)
	rest, given := object["unevaluatedProperties"]
	if !given {
		return flat{}, false
	}
	names := make(map[string]any)
	if !c.declared(n, names, make(map[place]bool)) {
		return flat{}, false
	}
	return flat{of: map[string]any{"properties": names, "additionalProperties": rest},
		at: place{pointer: n.at.file + "#" + n.at.pointer + "/unevaluated", side: n.at.side}}, true
}

// declared collects the names of properties that schemas of one object declare;
// false: more than names have a say.
func (c *checker) declared(n node, names map[string]any, seen map[place]bool) bool {
	object, ok := n.value.(map[string]any)
	if seen[n.at] {
		return true
	}
	outermost := len(seen) == 0
	seen[n.at] = true
	if !ok {
		return true
	}
	if object["patternProperties"] != nil || object["additionalProperties"] != nil || !outermost && object["unevaluatedProperties"] != nil {
		return false
	}
	for _, name := range sortedKeys(named(object["properties"])) {
		names[name] = true
	}
	for _, part := range c.parts(n) {
		if !c.declared(part, names, seen) {
			return false
		}
	}
	return true
}

// parts returns the schemas in a schema that are about the same value.
func (c *checker) parts(n node) (parts []node) {
	object, _ := n.value.(map[string]any)
	for _, keyword := range inPlace {
		switch value := object[keyword].(type) {
		case []any:
			for i, s := range value {
				parts = append(parts, node{s, n.at.under(keyword, strconv.Itoa(i))})
			}
		case map[string]any:
			if keyword != "dependentSchemas" {
				parts = append(parts, node{value, n.at.under(keyword)})
				continue
			}
			for _, name := range sortedKeys(value) {
				parts = append(parts, node{value[name], n.at.under(keyword, name)})
			}
		}
	}
	if target, ok := c.follow(n); ok {
		parts = append(parts, target)
	}
	return parts
}

func list(v any) []any           { l, _ := v.([]any); return l }
func named(v any) map[string]any { m, _ := v.(map[string]any); return m }
func texts(v any) (texts []string) {
	for _, item := range list(v) {
		if s, ok := item.(string); ok {
			texts = append(texts, s)
		}
	}
	return texts
}

// kinds are types of values, as bits. Numbers are integers or not.
type kinds uint

const (
	null kinds = 1 << iota
	boolean
	integer
	fraction
	text
	array
	object
	anything = null | boolean | integer | fraction | text | array | object
)

var kindNames = map[string]kinds{"null": null, "boolean": boolean, "integer": integer, "number": integer | fraction,
	"fraction": fraction, // no type of JSON Schema's
	"string":   text, "array": array, "object": object}

// kindsOf returns what the keyword type allows.
func kindsOf(value any) kinds {
	switch v := value.(type) {
	case string:
		return kindNames[v]
	case []any:
		var k kinds
		for _, name := range texts(v) {
			k |= kindNames[name]
		}
		return k
	}
	return anything
}

// kinds returns the types of the values that the schemas allow.
func (a all) kinds() kinds {
	k := anything
	if a.never {
		return 0
	}
	for _, f := range a.flats {
		k &= kindsOf(f.of["type"])
	}
	return k
}

func (k kinds) each() (each []kinds) {
	for bit := null; bit <= object; bit <<= 1 {
		if k&bit != 0 {
			each = append(each, bit)
		}
	}
	return each
}

func (k kinds) String() string {
	var names []string
	for _, name := range []string{"null", "boolean", "number", "integer", "string", "array", "object"} {
		if bits := kindNames[name]; k&bits == bits && !(name == "integer" && k&fraction != 0) {
			names = append(names, name)
			continue
		}
		if name == "number" && k&fraction != 0 {
			names = append(names, "number with a fraction")
		}
	}
	return strings.Join(names, " or ")
}

// schemaOf returns a schema that allows one type.
func schemaOf(k kinds) flat {
	for name, bits := range kindNames {
		if bits == k {
			return flat{of: map[string]any{"type": name}, at: place{pointer: "type/" + name}}
		}
	}
	return flat{}
}

// finite returns all values that the schemas allow, and perhaps more; false: there
// are too many.
func (a all) finite() (values []any, ok bool) {
	for _, f := range a.flats {
		if v, given := f.of["const"]; given {
			return []any{v}, true
		}
		if v, given := f.of["enum"].([]any); given && !ok {
			values, ok = v, true
		}
	}
	if !ok {
		switch a.kinds() {
		case null:
			return []any{nil}, true
		case boolean:
			return []any{true, false}, true
		case null | boolean:
			return []any{nil, true, false}, true
		}
	}
	return values, ok
}

// number returns a keyword's value.
func number(v any) *big.Rat {
	n, ok := v.(json.Number)
	if !ok {
		return nil
	}
	r, ok := new(big.Rat).SetString(n.String())
	if !ok {
		return nil
	}
	return r
}

// most returns the strictest value of a keyword, nil if none has it: the largest,
// or the smallest.
func (a all) most(keyword string, largest bool) (most *big.Rat) {
	for _, f := range a.flats {
		n := number(f.of[keyword])
		if n != nil && (most == nil || largest && n.Cmp(most) > 0 || !largest && n.Cmp(most) < 0) {
			most = n
		}
	}
	return most
}

// has reports whether one of the schemas has the keyword with that very value, in
// which nothing refers to something else.
func (a all) has(keyword string, value any) bool {
	return slices.ContainsFunc(a.flats, func(f flat) bool {
		own, given := f.of[keyword]
		return given && reflect.DeepEqual(own, value) && !refers(value)
	})
}

func refers(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		for name, member := range v {
			if name == "$ref" || refers(member) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, refers)
	}
	return false
}

// requires returns the names of properties that are required.
func (a all) requires() map[string]bool {
	names := make(map[string]bool)
	for _, f := range a.flats {
		for _, name := range texts(f.of["required"]) {
			names[name] = true
		}
	}
	return names
}
