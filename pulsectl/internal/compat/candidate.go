package compat

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
)

// most candidates at one place.
const manyValues = 150

// embed puts values into whole documents.
func (c *checker) embed(at where, values []any) (documents []any) {
	for _, v := range values {
		documents = append(documents, at.wrap(v)...)
	}
	return documents
}

// values returns values that a may allow, some of them beyond what b allows; the
// first are the simplest. They are guesses: the validator judges.
func (c *checker) values(a all, b *node, depth int) (values []any) {
	if c.budget--; c.budget <= 0 {
		return nil
	}
	hints := a
	if b != nil {
		hints = a.join(c.flatten(*b))
	}
	if listed, finite := a.finite(); finite {
		values = listed
	} else {
		values = append(values, c.ofKinds(a, hints, depth)...)
	}
	for _, f := range a.flats { // what its alternatives allow
		for _, keyword := range []string{"anyOf", "oneOf"} {
			for i, s := range list(f.of[keyword]) {
				if part := c.flatten(node{s, f.at.under(keyword, fmt.Sprint(i))}); depth > 0 && f.at.file != "" {
					values = append(values, c.values(a.withoutAlternatives().join(part), b, depth-1)...)
				}
			}
		}
	}
	kept := values[:0:0]
	seen := make(map[string]bool)
	for _, v := range values {
		key := string(encode(v))
		if !seen[key] && c.allows(a, v) {
			kept = append(kept, v)
		}
		seen[key] = true
		if len(kept) == manyValues {
			break
		}
	}
	return kept
}

// withoutAlternatives returns a without anyOf and oneOf, which are being chosen
// from.
func (a all) withoutAlternatives() all {
	changed := all{never: a.never}
	for _, f := range a.flats {
		without := make(map[string]any, len(f.of))
		for k, v := range f.of {
			if k != "anyOf" && k != "oneOf" {
				without[k] = v
			}
		}
		if len(without) < len(f.of) {
			f = flat{without, place{pointer: f.at.file + "#" + f.at.pointer + "/without"}}
		}
		changed.flats = append(changed.flats, f)
	}
	return changed
}

// sample returns a value that a allows, or null.
func (c *checker) sample(a all, depth int) any {
	for _, v := range c.values(a, nil, depth) {
		return v
	}
	return nil
}

func (c *checker) ofKinds(a, hints all, depth int) (values []any) {
	for _, k := range a.kinds().each() {
		switch k {
		case null:
			values = append(values, nil)
		case boolean:
			values = append(values, true, false)
		case integer, fraction:
			values = append(values, numbersFor(hints, k)...)
		case text:
			values = append(values, textsFor(hints)...)
		case array:
			values = append(values, c.arraysFor(a, hints, depth)...)
		case object:
			for _, o := range c.objects(a, depth) {
				values = append(values, o)
			}
			values = append(values, c.objectsFor(a, hints, depth)...)
		}
	}
	for _, f := range hints.flats {
		if v, given := f.of["const"]; given {
			values = append(values, v)
		}
		values = append(values, list(f.of["enum"])...)
	}
	return values
}

func numbersFor(hints all, k kinds) (values []any) {
	var around []*big.Rat
	add := func(r *big.Rat) {
		if r.IsInt() == (k == integer) {
			values = append(values, plain(r))
		}
	}
	for _, f := range hints.flats {
		for _, keyword := range []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"} {
			if n := number(f.of[keyword]); n != nil {
				around = append(around, n, new(big.Rat).SetInt(floor(n)))
			}
		}
	}
	around = append(around, new(big.Rat), big.NewRat(1, 1), big.NewRat(1000, 1), big.NewRat(-1000, 1))
	for _, n := range around {
		for _, by := range []*big.Rat{new(big.Rat), big.NewRat(1, 1), big.NewRat(-1, 1), big.NewRat(1, 2), big.NewRat(-1, 2), big.NewRat(1, 1000), big.NewRat(-1, 1000)} {
			add(new(big.Rat).Add(n, by))
		}
		for _, times := range []int64{2, 3, 7, -1} {
			add(new(big.Rat).Mul(n, big.NewRat(times, 1)))
		}
	}
	return values
}

// plain returns a number as JSON has it.
func plain(r *big.Rat) any {
	if r.IsInt() {
		return json.Number(r.RatString())
	}
	return json.Number(strings.TrimRight(r.FloatString(12), "0"))
}

func (c *checker) arraysFor(a, hints all, depth int) (values []any) {
	sizes := []int{0, 1, 2}
	for _, f := range hints.flats {
		for _, keyword := range []string{"minItems", "maxItems", "minContains", "maxContains"} {
			if n := number(f.of[keyword]); n != nil && n.IsInt() && n.Num().IsInt64() && n.Num().Int64() < 200 {
				size := int(n.Num().Int64())
				sizes = append(sizes, max(0, size-1), size, size+1)
			}
		}
	}
	if depth == 0 {
		return []any{[]any{}}
	}
	for _, size := range sizes {
		for _, different := range []bool{true, false} {
			items := make([]any, size)
			for i := range items {
				choice := c.values(c.item(a, i, false), nil, depth-1)
				if len(choice) == 0 {
					choice = []any{nil}
				}
				if items[i] = choice[0]; different {
					items[i] = choice[i%len(choice)]
				}
			}
			values = append(values, items)
		}
	}
	hinted := all{}
	for _, f := range hints.flats {
		if s, given := f.of["contains"]; given {
			hinted = hinted.join(c.flatten(node{s, f.at.under("contains")}))
		}
	}
	if len(hinted.flats) > 0 {
		values = append(values, []any{c.sample(hinted, depth-1)}, []any{c.sample(hinted, depth-1), c.sample(hinted, depth-1)})
	}
	return values
}

// objects returns an object with what a requires alone, and one with all that it
// declares.
func (c *checker) objects(a all, depth int) []map[string]any {
	if c.budget--; c.budget <= 0 {
		return nil
	}
	least, most := make(map[string]any), make(map[string]any)
	for name := range a.requires() {
		least[name] = c.sample(c.property(a, name), depth-1)
		most[name] = least[name]
	}
	if depth > 0 {
		for name := range a.names() {
			if value := c.property(a, name); most[name] == nil && value.kinds() != 0 {
				most[name] = c.sample(value, depth-1)
			}
		}
	}
	if depth > 0 { // and those that others are written with
		for _, f := range a.flats {
			for trigger, names := range named(f.of["dependentRequired"]) {
				if _, has := least[trigger]; has {
					for _, name := range texts(names) {
						least[name] = c.sample(c.property(a, name), depth-1)
					}
				}
			}
		}
	}
	return []map[string]any{least, most}
}

// objectsFor returns variations of objects.
func (c *checker) objectsFor(a, hints all, depth int) (values []any) {
	if depth == 0 {
		return nil
	}
	names := hints.names()
	for name := range hints.requires() {
		names[name] = true
	}
	names[unused(names)] = true
	for _, f := range hints.flats {
		for pattern := range named(f.of["patternProperties"]) {
			for _, name := range textsLike(pattern) {
				names[name] = true
			}
		}
		for trigger, needed := range named(f.of["dependentRequired"]) {
			names[trigger] = true
			for _, name := range texts(needed) {
				names[name] = true
			}
		}
		for trigger := range named(f.of["dependentSchemas"]) {
			names[trigger] = true
		}
	}
	const few = 8
	for _, o := range c.objects(a, depth-1) {
		for _, name := range sortedKeys(names) {
			if _, has := o[name]; has {
				without := with(o, name, nil)
				delete(without, name)
				values = append(values, without)
			}
			var hint *node
			if s := c.property(hints, name); len(s.flats) > 0 {
				for i, v := range c.values(s, nil, depth-1) {
					if i == few {
						break
					}
					values = append(values, with(o, name, v))
				}
			}
			for i, v := range c.values(c.property(a, name), hint, depth-1) {
				if i == few {
					break
				}
				values = append(values, with(o, name, v))
			}
		}
		more := o
		for i := range 4 { // for limits on their number
			more = with(more, fmt.Sprintf("p%d", i), c.sample(c.property(a, fmt.Sprintf("p%d", i)), 0))
			values = append(values, more)
		}
	}
	return values
}

// kindOf returns the type of a value.
func kindOf(v any) kinds {
	switch v := v.(type) {
	case nil:
		return null
	case bool:
		return boolean
	case json.Number:
		if n := number(v); n != nil && n.IsInt() {
			return integer
		}
		return fraction
	case string:
		return text
	case []any:
		return array
	}
	return object
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		return []byte("?")
	}
	return text
}
