package compat

import (
	"fmt"
	"strconv"
)

func proveReference(c *checker, a all, b node, _ map[string]any, at where) []problem {
	target, ok := c.follow(b)
	if !ok {
		return []problem{at.problem("$ref", "it leads nowhere")}
	}
	return c.prove(a, target, at)
}

func proveAllOf(c *checker, a all, b node, keywords map[string]any, at where) (problems []problem) {
	for i, s := range list(keywords["allOf"]) {
		problems = append(problems, c.prove(a, node{s, b.at.under("allOf", strconv.Itoa(i))}, at)...)
	}
	return problems
}

// alternatives returns the schemas of anyOf or oneOf.
func alternatives(b node, keywords map[string]any, keyword string) (nodes []node) {
	for i, s := range list(keywords[keyword]) {
		nodes = append(nodes, node{s, b.at.under(keyword, strconv.Itoa(i))})
	}
	return nodes
}

func proveAnyOf(c *checker, a all, b node, keywords map[string]any, at where) []problem {
	if a.has("anyOf", keywords["anyOf"]) || a.has("oneOf", keywords["anyOf"]) {
		return nil
	}
	var closest []problem
	for i, alternative := range alternatives(b, keywords, "anyOf") {
		problems := c.prove(a, alternative, at)
		if len(problems) == 0 {
			return nil
		}
		if i == 0 || len(problems) < len(closest) {
			closest = problems
		}
	}
	return []problem{at.problem("anyOf", "none of the readers' alternatives takes all that is written%s", nearest(closest))}
}

func nearest(problems []problem) string {
	if len(problems) == 0 {
		return ""
	}
	return fmt.Sprintf(" (the closest: %s: %s: %s)", problems[0].path, problems[0].rule, problems[0].text)
}

// proveOneOf needs an alternative that takes all values, when no other takes any
// of them.
func proveOneOf(c *checker, a all, b node, keywords map[string]any, at where) []problem {
	if a.has("oneOf", keywords["oneOf"]) {
		return nil
	}
	nodes := alternatives(b, keywords, "oneOf")
	var closest []problem
	for i, alternative := range nodes {
		problems := c.prove(a, alternative, at)
		if len(problems) > 0 {
			if closest == nil || len(problems) < len(closest) {
				closest = problems
			}
			continue
		}
		alone := true
		for j, other := range nodes {
			alone = alone && (i == j || c.disjoint(a, other))
		}
		if alone {
			return nil
		}
		return []problem{at.problem("oneOf", "more than one of the readers' alternatives may take what is written")}
	}
	return []problem{at.problem("oneOf", "none of the readers' alternatives takes all that is written%s", nearest(closest))}
}

func proveNot(c *checker, a all, b node, keywords map[string]any, at where) []problem {
	if a.has("not", keywords["not"]) || c.disjoint(a, node{keywords["not"], b.at.under("not")}) {
		return nil
	}
	return []problem{at.problem("not", "what readers rule out may be written")}
}

// disjoint reports whether no value is allowed by a and valid by b, as far as
// types, constants and properties tell.
func (c *checker) disjoint(a all, b node) bool {
	if c.budget--; c.budget <= 0 {
		return false
	}
	both := a.join(c.flatten(b))
	if both.kinds() == 0 {
		return true
	}
	if values, finite := a.finite(); finite {
		for _, v := range values {
			if c.allows(a, v) && c.valid(b.at, v) {
				return false
			}
		}
		return true
	}
	if values, finite := both.finite(); finite {
		for _, v := range values {
			if c.allows(both, v) && kindOf(v)&both.kinds() != 0 {
				return false
			}
		}
		return true
	}
	if low, high := both.bounds(); both.kinds()&^(integer|fraction) == 0 && low.at != nil && high.at != nil && low.at.Cmp(high.at) > 0 {
		return true
	}
	if both.kinds() != object {
		return false
	}
	for name := range both.requires() {
		value := c.property(both, name)
		if value.kinds() == 0 || c.depthless(value) {
			return true
		}
	}
	return false
}

// depthless reports whether no value is allowed by all of the constants.
func (c *checker) depthless(value all) bool {
	values, finite := value.finite()
	if !finite {
		return false
	}
	for _, v := range values {
		if c.allows(value, v) && kindOf(v)&value.kinds() != 0 {
			return false
		}
	}
	return true
}

func proveIf(c *checker, a all, b node, keywords map[string]any, at where) []problem {
	for _, f := range a.flats {
		if same(f.of["if"], keywords["if"]) && same(f.of["then"], keywords["then"]) && same(f.of["else"], keywords["else"]) &&
			!refers(keywords["if"]) && !refers(keywords["then"]) && !refers(keywords["else"]) {
			return nil
		}
	}
	var problems []problem
	for _, keyword := range []string{"then", "else"} {
		if s, given := keywords[keyword]; given {
			problems = append(problems, c.prove(a, node{s, b.at.under(keyword)}, at)...)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return []problem{at.problem("if", "what readers want under a condition is not always written%s", nearest(problems))}
}

func proveDependentSchemas(c *checker, a all, b node, keywords map[string]any, at where) (problems []problem) {
	if a.kinds()&object == 0 || a.has("dependentSchemas", keywords["dependentSchemas"]) {
		return nil
	}
	for _, name := range sortedKeys(named(keywords["dependentSchemas"])) {
		if c.property(a, name).kinds() == 0 {
			continue
		}
		found := c.prove(a.and(flat{of: map[string]any{"required": []any{name}}, at: place{pointer: "with/" + name}}),
			node{named(keywords["dependentSchemas"])[name], b.at.under("dependentSchemas", name)}, at)
		if len(found) > 0 {
			problems = append(problems, at.problem("dependentSchemas", "what readers want beside %s is not always written%s", show(name), nearest(found)))
		}
	}
	return problems
}
