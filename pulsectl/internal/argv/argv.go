// Package argv reorders a command line so that urfave/cli v2 can parse it:
// every flag directly after the command that declares it. Users can write flags
// anywhere, also after positional arguments, and global flags after the
// subcommand.
package argv

import (
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// level is one command on the path from the application to the leaf.
type level struct {
	name     string
	flags    map[string]bool // by each of their names: whether the flag takes a value
	commands []*cli.Command
	words    []string // the flags and values to put after the name
}

// Normalise returns args, which begins with the program's name, with each known
// flag moved to the level that declares it. Unknown flags stay for the parser
// to reject. Normalise is idempotent.
func Normalise(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	root := &level{name: args[0], flags: flagsOf(app.Flags), commands: app.Commands}
	root.flags["version"] = false // the library adds it while it runs
	path := []*level{root}
	var positionals []string
	explicit := false // the user wrote --

	rest := args[1:]
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		deepest := path[len(path)-1]
		switch {
		case word == "--":
			positionals = append(positionals, rest...)
			rest, explicit = nil, true
		case isFlag(word):
			owner, takesValue := declaring(path, word)
			if owner == nil {
				owner = deepest
			}
			owner.words = append(owner.words, word)
			if takesValue && len(rest) > 0 {
				owner.words = append(owner.words, rest[0])
				rest = rest[1:]
			}
		default:
			if c := find(deepest.commands, word); c != nil && len(positionals) == 0 {
				path = append(path, &level{name: word, flags: flagsOf(c.Flags), commands: c.Subcommands})
				continue
			}
			positionals = append(positionals, word)
		}
	}

	var out []string
	for _, l := range path {
		out = append(append(out, l.name), l.words...)
	}
	if explicit || slices.ContainsFunc(positionals, func(p string) bool { return len(p) > 1 && p[0] == '-' }) {
		out = append(out, "--")
	}
	return append(out, positionals...)
}

// Command returns the first command in args, which Normalise has returned; "" if
// there is none.
func Command(app *cli.App, args []string) string {
	root := []*level{{flags: flagsOf(app.Flags)}}
	for i := 1; i < len(args); i++ {
		if !isFlag(args[i]) {
			return args[i]
		}
		if _, takesValue := declaring(root, args[i]); takesValue {
			i++
		}
	}
	return ""
}

// isFlag reports whether word is a flag, as opposed to "-" (stdin) or a
// negative number.
func isFlag(word string) bool {
	if len(word) < 2 || word[0] != '-' {
		return false
	}
	_, err := strconv.ParseFloat(word, 64)
	return err != nil
}

// declaring returns the innermost level that declares the flag, and whether the
// flag's value is the next word.
func declaring(path []*level, word string) (*level, bool) {
	name, _, inline := strings.Cut(strings.TrimLeft(word, "-"), "=")
	for _, l := range slices.Backward(path) {
		if takesValue, known := l.flags[name]; known {
			return l, takesValue && !inline
		}
	}
	return nil, false
}

func flagsOf(flags []cli.Flag) map[string]bool {
	known := map[string]bool{"help": false, "h": false}
	for _, f := range flags {
		takesValue := true
		if d, ok := f.(cli.DocGenerationFlag); ok {
			takesValue = d.TakesValue()
		}
		for _, name := range f.Names() {
			known[name] = takesValue
		}
	}
	return known
}

func find(commands []*cli.Command, word string) *cli.Command {
	for _, c := range commands {
		if c.HasName(word) {
			return c
		}
	}
	return nil
}
