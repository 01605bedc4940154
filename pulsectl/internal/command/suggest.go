package command

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
)

// The library has suggestions too (App.Suggest), but they name a word however
// unlike the typed one it is, only the flags of the command itself, and hidden
// commands as well, and they are printed on stdout. TestSuggestions fails when
// that changes.

// nearest returns the command that a mistyped word probably means.
func nearest(word string, commands []*cli.Command) string {
	var names []string
	for _, c := range commands {
		if !c.Hidden {
			names = append(names, c.Names()...)
		}
	}
	return env.Closest(word, names)
}

// nearestFlag does the same for a flag of the command or of one above it.
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
	return env.Closest(flag, names)
}
