package compat

import (
	"math/big"
	"regexp"

	"github.com/asimalizada/pulse-events/internal/schema"
)

// property returns what a allows as the value of a property.
func (c *checker) property(a all, name string) (value all) {
	for _, f := range a.flats {
		if !f.says("properties", "patternProperties", "additionalProperties") {
			continue
		}
		declared := false
		if s, given := named(f.of["properties"])[name]; given {
			declared = true
			value = value.join(c.flatten(node{s, f.at.under("properties", name)}))
		}
		for _, pattern := range sortedKeys(named(f.of["patternProperties"])) {
			if matches(pattern, name) {
				declared = true
				value = value.join(c.flatten(node{named(f.of["patternProperties"])[pattern], f.at.under("patternProperties", pattern)}))
			}
		}
		if s, given := f.of["additionalProperties"]; given && !declared {
			value = value.join(c.flatten(node{s, f.at.under("additionalProperties")}))
		}
	}
	return value
}

func (f flat) says(keywords ...string) bool {
	for _, k := range keywords {
		if _, given := f.of[k]; given {
			return true
		}
	}
	return false
}

func matches(pattern, name string) bool {
	re, err := regexp.Compile(pattern)
	return err == nil && re.MatchString(name)
}

// names returns the properties that schemas declare.
func (a all) names() map[string]bool {
	names := make(map[string]bool)
	for _, f := range a.flats {
		for name := range named(f.of["properties"]) {
			names[name] = true
		}
	}
	return names
}

// others returns what a allows as the value of a property that it does not
// declare: one of several alternatives, by the patterns that its name matches.
func (c *checker) others(a all) (alternatives []all) {
	var without all // any pattern
	for _, f := range a.flats {
		if s, given := f.of["additionalProperties"]; given {
			without = without.join(c.flatten(node{s, f.at.under("additionalProperties")}))
		}
	}
	alternatives = []all{without}
	for i, f := range a.flats {
		for _, pattern := range sortedKeys(named(f.of["patternProperties"])) {
			value := c.flatten(node{named(f.of["patternProperties"])[pattern], f.at.under("patternProperties", pattern)})
			for j, other := range a.flats {
				if s, given := other.of["additionalProperties"]; given && i != j && len(named(other.of["patternProperties"])) == 0 {
					value = value.join(c.flatten(node{s, other.at.under("additionalProperties")}))
				}
			}
			alternatives = append(alternatives, value)
		}
	}
	return alternatives
}

// propertyCounts returns how many properties an object has at least and at most.
func (c *checker) propertyCounts(a all, least, most *big.Rat) (*big.Rat, *big.Rat) {
	if n := big.NewRat(int64(len(a.requires())), 1); least == nil || n.Cmp(least) > 0 {
		least = n
	}
	for _, other := range c.others(a) {
		if other.kinds() != 0 {
			return least, most
		}
	}
	n := 0
	for name := range a.names() {
		if c.property(a, name).kinds() != 0 {
			n++
		}
	}
	if closed := big.NewRat(int64(n), 1); most == nil || closed.Cmp(most) < 0 {
		most = closed
	}
	return least, most
}

func proveRequired(_ *checker, a all, _ node, keywords map[string]any, at where) (problems []problem) {
	if a.kinds()&object == 0 {
		return nil
	}
	required := a.requires()
	for _, name := range texts(keywords["required"]) {
		if !required[name] {
			problems = append(problems, at.problem("required", "objects without %s are written, which readers require", show(name)))
		}
	}
	return problems
}

func proveDependentRequired(c *checker, a all, _ node, keywords map[string]any, at where) (problems []problem) {
	if a.kinds()&object == 0 {
		return nil
	}
	required := a.requires()
	for _, trigger := range sortedKeys(named(keywords["dependentRequired"])) {
		if c.property(a, trigger).kinds() == 0 {
			continue
		}
	names:
		for _, name := range texts(named(keywords["dependentRequired"])[trigger]) {
			if required[name] || name == trigger {
				continue
			}
			for _, f := range a.flats {
				for _, own := range texts(named(f.of["dependentRequired"])[trigger]) {
					if own == name {
						continue names
					}
				}
			}
			problems = append(problems, at.problem("dependentRequired", "objects with %s and without %s are written", show(trigger), show(name)))
		}
	}
	return problems
}

// proveProperties proves properties, patternProperties and additionalProperties.
func proveProperties(c *checker, a all, b node, keywords map[string]any, at where) (problems []problem) {
	rest, limited := keywords["additionalProperties"]
	restPlace := b.at.under(restKeyword(keywords, "additionalProperties"))
	own, patterns := named(keywords["properties"]), named(keywords["patternProperties"])
	if a.kinds()&object == 0 || !limited && len(own)+len(patterns) == 0 {
		return nil
	}
	declared := a.names()
	for name := range own {
		declared[name] = true
	}
	prove := func(value all, name, path string, s any, place place) {
		inside := where{path: at.path + path, depth: at.depth + 1, wrap: func(v any) []any {
			var documents []any
			for _, o := range c.objects(a, 2) {
				documents = append(documents, at.wrap(with(o, name, v))...)
			}
			return documents
		}}
		problems = append(problems, c.prove(value, node{s, place}, inside)...)
	}
	for _, name := range sortedKeys(declared) {
		value, covered := c.property(a, name), false
		if s, given := own[name]; given {
			covered = true
			prove(value, name, schema.Step(name), s, b.at.under("properties", name))
		}
		for _, pattern := range sortedKeys(patterns) {
			if matches(pattern, name) {
				covered = true
				prove(value, name, schema.Step(name), patterns[pattern], b.at.under("patternProperties", pattern))
			}
		}
		if !covered && limited {
			prove(value, name, schema.Step(name), rest, restPlace)
		}
	}
	alternatives := c.others(a)
	for i, other := range alternatives {
		for _, pattern := range sortedKeys(patterns) {
			for _, name := range textsLike(pattern) {
				prove(other, name, ".*", patterns[pattern], b.at.under("patternProperties", pattern))
				break
			}
			if len(textsLike(pattern)) == 0 {
				prove(other, "x", ".*", patterns[pattern], b.at.under("patternProperties", pattern))
			}
		}
		if !limited {
			continue
		}
		name := unused(declared)
		if i > 0 { // the names of a pattern that readers have as well are theirs
			pattern := c.patternOf(a, i-1)
			if _, covered := patterns[pattern]; covered {
				continue
			}
			if like := textsLike(pattern); len(like) > 0 {
				name = like[0]
			}
		}
		prove(other, name, ".*", rest, restPlace)
	}
	return problems
}

// restAt is a keyword of schemas made here: which one the others are from.
const restAt = "\x00rest"

func restKeyword(keywords map[string]any, otherwise string) string {
	if keyword, given := keywords[restAt].(string); given {
		return keyword
	}
	return otherwise
}

// patternOf returns the n-th pattern in the order of others.
func (c *checker) patternOf(a all, n int) string {
	for _, f := range a.flats {
		for _, pattern := range sortedKeys(named(f.of["patternProperties"])) {
			if n == 0 {
				return pattern
			}
			n--
		}
	}
	return ""
}

// unused returns a name that nobody declares.
func unused(declared map[string]bool) string {
	name := "other"
	for declared[name] {
		name += "_"
	}
	return name
}

func with(o map[string]any, name string, v any) map[string]any {
	changed := make(map[string]any, len(o)+1)
	for n, value := range o {
		changed[n] = value
	}
	changed[name] = v
	return changed
}

func provePropertyNames(c *checker, a all, b node, keywords map[string]any, at where) []problem {
	if a.kinds()&object == 0 || a.has("propertyNames", keywords["propertyNames"]) {
		return nil
	}
	for _, other := range c.others(a) {
		if other.kinds() != 0 {
			return []problem{at.problem("propertyNames", "objects with any names are written")}
		}
	}
	for _, name := range sortedKeys(a.names()) {
		if c.property(a, name).kinds() != 0 && !c.valid(b.at.under("propertyNames"), name) {
			return []problem{at.problem("propertyNames", "objects with %s are written", show(name))}
		}
	}
	return nil
}

// proveUnevaluated proves what is said of properties and items that no other
// keyword is about, where these stand in the same schema.
func proveUnevaluated(c *checker, a all, b node, keywords map[string]any, at where) (problems []problem) {
	for keyword, simple := range map[string]string{"unevaluatedProperties": "additionalProperties", "unevaluatedItems": "items"} {
		rest, given := keywords[keyword]
		of := object
		if simple == "items" {
			of = array
		}
		if !given || rest == true || a.kinds()&of == 0 {
			continue
		}
		if (flat{of: keywords}).says(inPlace...) || simple == "items" && keywords["contains"] != nil {
			if !a.has(keyword, rest) || len(a.flats) != 1 || !same(a.flats[0].of, keywords) || refers(keywords) {
				problems = append(problems, at.problem(keyword, "it depends on other schemas, which is not looked into"))
			}
			continue
		}
		if _, taken := keywords[simple]; taken {
			continue // which is about all the others
		}
		alike := make(map[string]any, len(keywords))
		for k, v := range keywords {
			alike[k] = v
		}
		alike[simple], alike[restAt] = rest, keyword
		prove := proveProperties
		if simple == "items" {
			prove = proveItems
		}
		problems = append(problems, prove(c, a, b, alike, at)...)
	}
	return problems
}
