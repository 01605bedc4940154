package command

import (
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// alike is the Jaro-Winkler similarity from which a word counts as a typing
// slip of another.
const alike = 0.8

func nearest(word string, commands []*cli.Command) string {
	var names []string
	for _, c := range commands {
		if !c.Hidden {
			names = append(names, c.Names()...)
		}
	}
	return closest(word, names)
}

func nearestFlag(flag string, ctx *cli.Context) string {
	flag, _, _ = strings.Cut(flag, "=")
	var names []string
	for _, c := range ctx.Lineage() {
		if c.Command != nil {
			for _, f := range c.Command.Flags {
				names = append(names, f.Names()...)
			}
		}
	}
	for _, f := range ctx.App.Flags {
		names = append(names, f.Names()...)
	}
	return closest(flag, names)
}

func closest(word string, names []string) string {
	best, score := "", alike
	for _, name := range names {
		if len(name) < 2 {
			continue
		}
		if s := smetrics.JaroWinkler(word, name, 0.7, 4); s > score {
			best, score = name, s
		}
	}
	return best
}
