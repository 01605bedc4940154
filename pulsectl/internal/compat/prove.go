package compat

import (
	"fmt"
	"math/big"
	"reflect"
)

// prove returns what keeps values that a allows from being valid by b; nothing:
// they all are. A schema of the readers is what its keywords say together, so each
// is proven by itself.
func (c *checker) prove(a all, b node, at where) []problem {
	if b.value == true || a.kinds() == 0 {
		return nil
	}
	if c.budget--; c.budget <= 0 {
		return []problem{at.problem("size", "the schemas are too intricate to be compared")}
	}
	candidates := func(depth int) []any { return c.embed(at, c.values(a, &b, depth)) }
	object, ok := b.value.(map[string]any)
	if !ok {
		p := at.problem("false", "a value is written where readers allow none")
		p.candidates = candidates
		return []problem{p}
	}
	// What is being proven is assumed for parts of the document: a shortest
	// document that refutes it would have a shorter one inside.
	key := a.key() + "<" + b.at.file + "#" + b.at.pointer
	for _, assumed := range c.stack {
		if assumed.key == key && assumed.depth < at.depth {
			return nil
		}
	}
	c.stack = append(c.stack, assumption{key, at.depth})
	defer func() { c.stack = c.stack[:len(c.stack)-1] }()

	if values, finite := a.finite(); finite {
		return c.proveEach(a, values, b, at)
	}
	var problems []problem
	for _, rule := range rules {
		if _, given := object[rule.keyword]; !given && rule.keyword != "" {
			continue
		}
		found := rule.prove(c, a, b, object, at)
		if len(found) > 0 {
			found = c.split(a, b, at, found, func(part all) []problem {
				if values, finite := part.finite(); finite {
					return c.proveEach(part, values, b, at)
				}
				return rule.prove(c, part, b, object, at)
			})
		}
		for i := range found {
			if found[i].candidates == nil {
				found[i].candidates = candidates
			}
		}
		problems = append(problems, found...)
	}
	return problems
}

// proveEach checks all values that a allows.
func (c *checker) proveEach(a all, values []any, b node, at where) (problems []problem) {
	for _, v := range values {
		if !c.allows(a, v) || c.valid(b.at, v) {
			continue
		}
		rule := "enum"
		if s := c.compiled[b.at]; s != nil {
			rule = s.Validate(v)[0].Rule
		}
		p := at.problem(rule, "the value %s is written, which readers do not allow", show(v))
		p.candidates = func(int) []any { return at.wrap(v) }
		problems = append(problems, p)
	}
	return problems
}

// allows reports whether a value is valid by all schemas of a.
func (c *checker) allows(a all, v any) bool {
	for _, f := range a.flats {
		if f.at.file != "" && !c.valid(f.at, v) {
			return false
		}
	}
	return !a.never
}

// split proves what could not be proven at once for each alternative of a: its
// types, and the schemas of anyOf and oneOf. It returns the problems of these, or
// those that there were where a has no alternatives.
func (c *checker) split(a all, b node, at where, problems []problem, prove func(part all) []problem) []problem {
	if c.budget--; c.budget <= 0 {
		return problems
	}
	for i, f := range a.flats {
		for _, keyword := range []string{"anyOf", "oneOf"} {
			alternatives := list(f.of[keyword])
			if len(alternatives) == 0 {
				continue
			}
			without := make(map[string]any, len(f.of))
			for k, v := range f.of {
				if k != keyword {
					without[k] = v
				}
			}
			rest := all{flats: append(append([]flat(nil), a.flats[:i]...), a.flats[i+1:]...), never: a.never}.
				and(flat{without, place{pointer: f.at.file + "#" + f.at.pointer + "/without/" + keyword}})
			var found []problem
			for n, s := range alternatives {
				part := rest.join(c.flatten(node{s, f.at.under(keyword, fmt.Sprint(n))}))
				if part.kinds() == 0 {
					continue
				}
				inner := prove(part)
				if len(inner) > 0 {
					inner = c.split(part, b, at, inner, prove)
				}
				for j := range inner {
					if inner[j].candidates == nil {
						inner[j].candidates = func(depth int) []any { return c.embed(at, c.values(part, &b, depth)) }
					}
				}
				found = append(found, inner...)
			}
			return found
		}
	}
	if each := a.kinds().each(); len(each) > 1 && problems[0].rule != "type" {
		var found []problem
		for _, k := range each {
			part := a.and(schemaOf(k))
			inner := prove(part)
			for j := range inner {
				if inner[j].candidates == nil {
					inner[j].candidates = func(depth int) []any { return c.embed(at, c.values(part, &b, depth)) }
				}
			}
			found = append(found, inner...)
		}
		return found
	}
	return problems
}

// rule proves a keyword of the readers.
type rule struct {
	keyword string
	prove   func(c *checker, a all, b node, object map[string]any, at where) []problem
}

// rules in the order in which their problems are told. They are filled in by init,
// as they refer to prove.
var rules []rule

func init() {
	rules = []rule{
		{"type", proveType},
		{"const", proveValues}, {"enum", proveValues},
		{"minimum", proveBound}, {"maximum", proveBound}, {"exclusiveMinimum", proveBound}, {"exclusiveMaximum", proveBound},
		{"multipleOf", proveMultiple},
		{"minLength", proveSize}, {"maxLength", proveSize}, {"minItems", proveSize}, {"maxItems", proveSize},
		{"minProperties", proveSize}, {"maxProperties", proveSize},
		{"pattern", proveSame}, {"format", proveSame},
		{"required", proveRequired}, {"dependentRequired", proveDependentRequired},
		{"", proveProperties}, {"propertyNames", provePropertyNames}, {"unevaluatedProperties", proveUnevaluated},
		{"", proveItems}, {"contains", proveContains}, {"uniqueItems", proveUnique}, {"unevaluatedItems", proveUnevaluated},
		{"$ref", proveReference}, {"allOf", proveAllOf}, {"anyOf", proveAnyOf}, {"oneOf", proveOneOf}, {"not", proveNot},
		{"if", proveIf}, {"dependentSchemas", proveDependentSchemas},
	}
}

func proveType(_ *checker, a all, _ node, object map[string]any, at where) []problem {
	want, have := kindsOf(object["type"]), a.kinds()
	if have&^want == 0 {
		return nil
	}
	return []problem{at.problem("type", "%s is written, readers want %s", have&^want, want)}
}

func proveValues(_ *checker, _ all, _ node, object map[string]any, at where) []problem {
	if v, given := object["const"]; given {
		return []problem{at.problem("const", "other values than %s are written", show(v))}
	}
	return []problem{at.problem("enum", "other values than %s are written", show(object["enum"]))}
}

// bound is a limit of numbers; nil: none.
type bound struct {
	at     *big.Rat
	itself bool // allowed
}

// bounds returns the limits that the schemas set together.
func (a all) bounds() (low, high bound) {
	whole := a.kinds()&fraction == 0
	low, high = bound{a.most("minimum", true), true}, bound{a.most("maximum", false), true}
	if n := a.most("exclusiveMinimum", true); n != nil && (low.at == nil || n.Cmp(low.at) >= 0) {
		low = bound{n, false}
	}
	if n := a.most("exclusiveMaximum", false); n != nil && (high.at == nil || n.Cmp(high.at) <= 0) {
		high = bound{n, false}
	}
	if whole && low.at != nil {
		n := floor(low.at)
		if new(big.Rat).SetInt(n).Cmp(low.at) < 0 || !low.itself {
			n.Add(n, big.NewInt(1))
		}
		low = bound{new(big.Rat).SetInt(n), true}
	}
	if whole && high.at != nil {
		n := floor(high.at)
		if !high.itself && high.at.IsInt() {
			n.Sub(n, big.NewInt(1))
		}
		high = bound{new(big.Rat).SetInt(n), true}
	}
	return low, high
}

// floor returns the next integer that is not above r.
func floor(r *big.Rat) *big.Int {
	return new(big.Int).Div(r.Num(), r.Denom()) // rounds down for a positive divisor
}

func proveBound(_ *checker, a all, _ node, object map[string]any, at where) (problems []problem) {
	if a.kinds()&(integer|fraction) == 0 {
		return nil
	}
	low, high := a.bounds()
	for _, keyword := range []string{"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"} {
		want := number(object[keyword])
		if want == nil {
			continue
		}
		have, sign := low, 1
		if keyword == "maximum" || keyword == "exclusiveMaximum" {
			have, sign = high, -1
		}
		exclusive := keyword[0] == 'e'
		if have.at != nil && (have.at.Cmp(want)*sign > 0 || have.at.Cmp(want) == 0 && (!exclusive || !have.itself)) {
			continue
		}
		problems = append(problems, at.problem(keyword, "numbers beyond the readers' %s of %s are written", keyword, show(object[keyword])))
	}
	return problems
}

func proveMultiple(_ *checker, a all, _ node, object map[string]any, at where) []problem {
	want := number(object["multipleOf"])
	if want == nil || a.kinds()&(integer|fraction) == 0 {
		return nil
	}
	if a.kinds()&fraction == 0 && new(big.Rat).Inv(want).IsInt() {
		return nil
	}
	for _, f := range a.flats {
		if n := number(f.of["multipleOf"]); n != nil && new(big.Rat).Quo(n, want).IsInt() {
			return nil
		}
	}
	return []problem{at.problem("multipleOf", "numbers that are no multiples of %s are written", show(object["multipleOf"]))}
}

// sizes are the keywords that bound a size, with the types they are about.
var sizes = []struct {
	least, most string
	of          kinds
}{{"minLength", "maxLength", text}, {"minItems", "maxItems", array}, {"minProperties", "maxProperties", object}}

func proveSize(c *checker, a all, _ node, object map[string]any, at where) (problems []problem) {
	for _, s := range sizes {
		if a.kinds()&s.of == 0 {
			continue
		}
		least, most := a.most(s.least, true), a.most(s.most, false)
		if s.of == objectKind {
			least, most = c.propertyCounts(a, least, most)
		}
		if want := number(object[s.least]); want != nil && want.Sign() > 0 && (least == nil || least.Cmp(want) < 0) {
			problems = append(problems, at.problem(s.least, "values below the readers' %s of %s are written", s.least, show(object[s.least])))
		}
		if want := number(object[s.most]); want != nil && (most == nil || most.Cmp(want) > 0) {
			problems = append(problems, at.problem(s.most, "values beyond the readers' %s of %s are written", s.most, show(object[s.most])))
		}
	}
	return problems
}

const objectKind = object

// proveSame proves keywords whose values are not compared, only found again.
func proveSame(_ *checker, a all, _ node, object map[string]any, at where) (problems []problem) {
	if a.kinds()&text == 0 {
		return nil
	}
	for _, keyword := range []string{"pattern", "format"} {
		if want, given := object[keyword]; given && !a.has(keyword, want) {
			problems = append(problems, at.problem(keyword, "texts that are not of the readers' %s %s are written", keyword, show(want)))
		}
	}
	return problems
}

func proveUnique(_ *checker, a all, _ node, object map[string]any, at where) []problem {
	most := a.most("maxItems", false)
	if object["uniqueItems"] != true || a.kinds()&array == 0 || a.has("uniqueItems", true) || most != nil && most.Cmp(big.NewRat(1, 1)) <= 0 {
		return nil
	}
	return []problem{at.problem("uniqueItems", "arrays with equal items are written")}
}

// show returns a value as JSON, shortened.
func show(v any) string {
	text := string(encode(v))
	if len(text) > 80 {
		return text[:77] + "..."
	}
	return text
}

func same(a, b any) bool { return reflect.DeepEqual(a, b) }
