package compat

import (
	"fmt"
	"math/big"
	"strconv"
)

// item returns what a allows as the i-th item of an array; with rest, as one
// behind those that have a schema of their own.
func (c *checker) item(a all, i int, rest bool) (value all) {
	for _, f := range a.flats {
		prefix := list(f.of["prefixItems"])
		if !rest && i < len(prefix) {
			value = value.join(c.flatten(node{prefix[i], f.at.under("prefixItems", strconv.Itoa(i))}))
		} else if s, given := f.of["items"]; given {
			value = value.join(c.flatten(node{s, f.at.under("items")}))
		}
	}
	return value
}

// prefix returns how many items have a schema of their own.
func (a all) prefix() (n int) {
	for _, f := range a.flats {
		n = max(n, len(list(f.of["prefixItems"])))
	}
	return n
}

// proveItems proves prefixItems and items.
func proveItems(c *checker, a all, b node, keywords map[string]any, at where) (problems []problem) {
	prefix, rest := list(keywords["prefixItems"]), keywords["items"]
	_, limited := keywords["items"]
	if a.kinds()&array == 0 || !limited && len(prefix) == 0 {
		return nil
	}
	most := a.most("maxItems", false)
	reaches := func(i int) bool { return most == nil || most.Cmp(big.NewRat(int64(i), 1)) > 0 }
	prove := func(value all, i int, path string, s any, place place) {
		inside := where{path: at.path + path, depth: at.depth + 1, wrap: func(v any) []any {
			return at.wrap(c.arrayWith(a, i, v))
		}}
		problems = append(problems, c.prove(value, node{s, place}, inside)...)
	}
	own := max(len(prefix), a.prefix())
	for i := 0; i < own && reaches(i); i++ {
		switch value := c.item(a, i, false); {
		case i < len(prefix):
			prove(value, i, fmt.Sprintf("[%d]", i), prefix[i], b.at.under("prefixItems", strconv.Itoa(i)))
		case limited:
			prove(value, i, fmt.Sprintf("[%d]", i), rest, b.at.under(restKeyword(keywords, "items")))
		}
	}
	if limited && reaches(own) {
		prove(c.item(a, own, true), own, "[*]", rest, b.at.under(restKeyword(keywords, "items")))
	}
	return problems
}

// arrayWith returns an array that a may allow, with v as its i-th item.
func (c *checker) arrayWith(a all, i int, v any) []any {
	size := i + 1
	if least := a.most("minItems", true); least != nil && least.IsInt() && least.Num().IsInt64() {
		size = min(max(size, int(least.Num().Int64())), 100)
	}
	items := make([]any, size)
	for n := range items {
		items[n] = v
		if n != i {
			items[n] = c.sample(c.item(a, n, false), 2)
		}
	}
	return items
}

func proveContains(c *checker, a all, b node, keywords map[string]any, at where) []problem {
	if a.kinds()&array == 0 {
		return nil
	}
	for _, f := range a.flats {
		if same(f.of["contains"], keywords["contains"]) && !refers(keywords["contains"]) &&
			same(f.of["minContains"], keywords["minContains"]) && same(f.of["maxContains"], keywords["maxContains"]) {
			return nil
		}
	}
	wanted := big.NewRat(1, 1)
	if n := number(keywords["minContains"]); n != nil {
		wanted = n
	}
	least := a.most("minItems", true)
	_, limited := keywords["maxContains"]
	if !limited && (wanted.Sign() == 0 || least != nil && least.Cmp(wanted) >= 0) {
		inside := where{path: at.path + "[*]", depth: at.depth + 1, wrap: func(any) []any { return nil }}
		proven := wanted.Sign() == 0
		if !proven {
			proven = true
			for i := 0; i <= a.prefix(); i++ {
				value := c.item(a, i, i == a.prefix())
				proven = proven && len(c.prove(value, node{keywords["contains"], b.at.under("contains")}, inside)) == 0
			}
		}
		if proven {
			return nil
		}
	}
	return []problem{at.problem("contains", "arrays may be written that do not contain what readers want, or as often")}
}
