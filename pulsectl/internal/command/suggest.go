package command

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
)

// Suggestions stand here although the library has some (App.Suggest): those
// name a word however unlike it is what was typed, only flags of the very
// command and not those of all commands, hidden commands as well, and are printed
// on stdout. TestSuggestions notices when that is no longer so.

// nearest is the command that a word was meant to be.
func nearest(word string, commands []*cli.Command) string {
	var names []string
	for _, c := range commands {
		if !c.Hidden {
			names = append(names, c.Names()...)
		}
	}
	return env.Closest(word, names)
}

// nearestFlag is the same for a flag, of the command or of one above it.
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
