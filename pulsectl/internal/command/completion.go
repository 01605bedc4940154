package command

import (
	"embed"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/internal/logging"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/messages"
	"github.com/asimalizada/pulse-events/pulsectl/internal/compose"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// completionScripts call this program with completeWord to get candidates.
//
//go:embed completion/pulsectl.*
var completionScripts embed.FS

// completeWord is the first argument of calls by the shell scripts: the words
// after the program's name up to the cursor follow, the last one being typed.
const completeWord = "__complete"

var shells = []string{"bash", "zsh", "fish"}

func completionCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "completion", Usage: "print a script that completes commands in bash, zsh or fish", ArgsUsage: strings.Join(shells, " | "),
		Description: "bash: add to ~/.bashrc: source <(pulsectl completion bash)\n" +
			"zsh: the same in ~/.zshrc, after compinit; or save it as _pulsectl in a folder of $fpath\n" +
			"fish: pulsectl completion fish > ~/.config/fish/completions/pulsectl.fish",
		Action: func(ctx *cli.Context) error {
			shell, err := env.OneArg(ctx, "shell")
			if err != nil {
				return err
			}
			if !slices.Contains(shells, shell) {
				return fail.Usagef("have: "+strings.Join(shells, ", "), "unknown shell %q", shell)
			}
			script, err := completionScripts.ReadFile("completion/pulsectl." + shell)
			if err != nil {
				return err
			}
			e.IO.Println(strings.TrimRight(string(script), "\n"))
			return nil
		},
	}
}

// candidate is a completion with its description.
type candidate struct{ word, text string }

// Directives for candidates that the shell itself provides.
var (
	files   = candidate{word: ":files"}
	folders = candidate{word: ":folders"}
)

// complete prints the candidates for a shell: one line each, word and
// description separated by a tab. It accesses only files on this machine.
func complete(e *env.Env, app *cli.App, words []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	for _, c := range candidates(e, app, words) {
		e.IO.Println(c.word + "\t" + strings.Join(strings.Fields(c.text), " "))
	}
}

// candidates returns the completions of the last of words.
func candidates(e *env.Env, app *cli.App, words []string) []candidate {
	var path []string // of the command
	commands, known := app.Commands, app.VisibleFlags()
	var positionals []string
	var wanted cli.Flag // the flag whose value comes next
	last := words[len(words)-1]
	for _, word := range words[:len(words)-1] {
		switch {
		case wanted != nil:
			wanted = nil
		case strings.HasPrefix(word, "-") && len(word) > 1:
			if f := flagNamed(known, word); f != nil && takesValue(f) && !strings.Contains(word, "=") {
				wanted = f
			}
		default:
			i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(word) })
			if i < 0 || len(positionals) > 0 {
				positionals = append(positionals, word)
				continue
			}
			path = append(path, commands[i].Name)
			known = append(slices.Clone(commands[i].VisibleFlags()), known...)
			commands = commands[i].Subcommands
		}
	}
	switch name, value, inline := strings.Cut(last, "="); {
	case wanted != nil:
		return matching(last, "", values(e, path, wanted))
	case inline && strings.HasPrefix(last, "-"):
		if f := flagNamed(known, name); f != nil && takesValue(f) {
			return matching(value, name+"=", values(e, path, f))
		}
		return nil
	case strings.HasPrefix(last, "-"):
		return matching(last, "", flagWords(known))
	case len(path) > 0 && path[0] == "help":
		return matching(last, "", helpWords(app, positionals))
	case len(path) > 0 && path[0] == "completion" && len(positionals) == 0:
		return matching(last, "", plain(shells...))
	case len(positionals) == 0:
		return matching(last, "", commandWords(commands))
	}
	return nil
}

// matching returns the candidates that begin with what is typed, which may be a
// comma-separated list; prefix is put before each.
func matching(typed, prefix string, all []candidate) []candidate {
	if len(all) == 1 && (all[0] == files || all[0] == folders) {
		return all
	}
	var out []candidate
	if i := strings.LastIndexByte(typed, ','); i >= 0 {
		prefix, typed = prefix+typed[:i+1], typed[i+1:]
	}
	for _, c := range all {
		if strings.HasPrefix(c.word, typed) {
			out = append(out, candidate{prefix + c.word, c.text})
		}
	}
	return out
}

func plain[S ~string](words ...S) []candidate {
	var out []candidate
	for _, word := range words {
		out = append(out, candidate{word: string(word)})
	}
	return out
}

func commandWords(commands []*cli.Command) []candidate {
	var out []candidate
	for _, c := range commands {
		if !c.Hidden {
			out = append(out, candidate{c.Name, c.Usage})
		}
	}
	return out
}

// helpWords returns the arguments that help accepts after some words: topics
// and commands.
func helpWords(app *cli.App, before []string) []candidate {
	commands := app.Commands
	for _, word := range before {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(word) })
		if i < 0 {
			return nil
		}
		commands = commands[i].Subcommands
	}
	out := commandWords(commands)
	if len(before) == 0 {
		out = append(out, plain(topicNames...)...)
	}
	return out
}

func flagNamed(flags []cli.Flag, word string) cli.Flag {
	name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	described, ok := f.(cli.DocGenerationFlag)
	return ok && described.TakesValue()
}

func flagWords(flags []cli.Flag) []candidate {
	var out []candidate
	for _, f := range flags {
		described, ok := f.(cli.DocGenerationFlag)
		word := candidate{word: "--" + f.Names()[0]}
		if ok {
			word.text = strings.ReplaceAll(described.GetUsage(), "`", "")
		}
		if !slices.ContainsFunc(out, func(c candidate) bool { return c.word == word.word }) {
			out = append(out, word)
		}
	}
	return out
}

// values returns the values that a flag of a command accepts, as far as they
// are known.
func values(e *env.Env, path []string, f cli.Flag) []candidate {
	switch name, command := f.Names()[0], strings.Join(path, " "); name {
	case "output":
		return plain(console.Formats()...)
	case "color":
		return plain(console.ColorAuto, console.ColorAlways, console.ColorNever)
	case "status":
		return append(plain(outbox.Pending, outbox.Published, outbox.Dead, outbox.Discarded), plain("retrying")...)
	case "columns":
		if command == "inbox ls" {
			return plain(console.Keys(messages.ProcessedColumns(""))...)
		}
		return plain(console.Keys(messages.RecordColumns)...)
	case "stack":
		var kinds []stack.Kind
		for _, d := range stack.Drivers() {
			if command != "down" || d.Detached() {
				kinds = append(kinds, d.Kind())
			}
		}
		return plain(kinds...)
	case "wait":
		return plain("published", "handled")
	case "only":
		if command == "verify" {
			return plain(reconcile.Kinds()...)
		}
		return plain("outbox", "inbox")
	case "ids":
		return []candidate{files}
	case "dialect":
		return plain(outbox.PostgreSQL, outbox.SQLite)
	case "log-level":
		return plain("debug", "info", "warn", "error")
	case "log-format":
		return plain(logging.Auto, logging.JSON, logging.Text)
	case "profile":
		here, err := os.Getwd()
		if err != nil {
			return nil
		}
		return plain(compose.ProfilesNear(e.Getenv("PULSE_COMPOSE_FILE"), here)...)
	case "data-dir":
		return []candidate{folders}
	case "compose-file":
		return []candidate{files}
	}
	return nil
}
