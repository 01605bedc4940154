package deptest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// graph holds packages by path; those of this module as ./path.
type graph map[string]imports

type imports struct{ product, tests []string }

// check returns a line for each import that breaks the rule, with the
// shortest chain that leads to it.
func (r rule) check(g graph) []string {
	var chains [][]string
	for _, name := range slices.Sorted(maps.Keys(g)) {
		if !matchesAny(r.of, name) || matchesAny(r.except, name) {
			continue
		}
		if r.scope&product != 0 {
			chains = append(chains, r.follow(g, name, "", g[name].product)...)
		}
		if r.scope&tests != 0 {
			chains = append(chains, r.follow(g, name, " (test)", g[name].tests)...)
		}
	}
	slices.SortStableFunc(chains, func(a, b []string) int { return cmp.Compare(len(a), len(b)) })
	seen := map[string]bool{}
	var broken []string
	for _, c := range chains {
		if culprit := strings.Join(c[len(c)-2:], " -> "); !seen[culprit] {
			seen[culprit] = true
			broken = append(broken, fmt.Sprintf("%s\n\tbreaks the rule: %s", strings.Join(c, " -> "), r.name))
		}
	}
	return broken
}

// follow walks from a package's imports as far as the rule looks, nearest
// first, and not beyond what is forbidden, and returns the chains that end
// there.
func (r rule) follow(g graph, from, note string, first []string) [][]string {
	var broken [][]string
	chains := map[string][]string{from: {from + note}}
	queue := []string{}
	visit := func(parent string, children []string) {
		for _, child := range children {
			if _, seen := chains[child]; seen {
				continue
			}
			chains[child] = append(slices.Clone(chains[parent]), child)
			if r.forbids(child) {
				broken = append(broken, chains[child])
			} else if !r.direct {
				queue = append(queue, child)
			}
		}
	}
	visit(from, first)
	for len(queue) > 0 {
		next := queue[0]
		queue = queue[1:]
		if !standard(next) {
			visit(next, g[next].product)
		}
	}
	return broken
}

func (r rule) forbids(path string) bool {
	if r.only != nil {
		return !standard(path) && !matchesAny(r.only, path)
	}
	return matchesAny(r.never, path) && !matchesAny(r.but, path)
}

// checkSole returns a line for each package except the first that imports path
// itself.
func checkSole(g graph, path string) []string {
	var importers []string
	for _, name := range slices.Sorted(maps.Keys(g)) {
		if own(name) && (slices.Contains(g[name].product, path) || slices.Contains(g[name].tests, path)) {
			importers = append(importers, name)
		}
	}
	if len(importers) <= 1 {
		return nil
	}
	return []string{fmt.Sprintf("%s is imported by %s\n\tbreaks the rule: one package alone may", path, strings.Join(importers, " and "))}
}

func matchesAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		base, below := strings.CutSuffix(p, "/...")
		if !below {
			return p == path
		}
		return path == base || strings.HasPrefix(path, base+"/")
	})
}

func own(path string) bool { return path == "." || strings.HasPrefix(path, "./") }

// standard reports whether the path is in the standard library: its first
// element is not a domain.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}
