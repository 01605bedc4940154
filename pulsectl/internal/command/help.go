package command

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

func helpCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "help", Usage: "explain a command or a topic: " + strings.Join(topicNames, ", "), ArgsUsage: "[TOPIC | COMMAND...]",
		Action: func(ctx *cli.Context) error {
			if !ctx.Args().Present() {
				return cli.ShowAppHelp(ctx)
			}
			if word := ctx.Args().First(); slices.Contains(topicNames, word) {
				return showTopic(e, word)
			}
			// help outbox ls = outbox ls --help
			commands := ctx.App.Commands
			args := []string{ctx.App.Name}
			for _, word := range ctx.Args().Slice() {
				i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(word) })
				if i < 0 {
					return fail.Usagef("topics: "+strings.Join(topicNames, ", "), "there is no help for %q", word)
				}
				args = append(args, word)
				commands = commands[i].Subcommands
			}
			return ctx.App.RunContext(ctx.Context, append(args, "--help"))
		},
	}
}

// printHelp writes the help of the app or of a command.
func printHelp(e *env.Env, data any) {
	switch data := data.(type) {
	case *cli.App:
		appHelp(e, data, false)
	case *cli.Command:
		commandHelp(e, data)
	}
}

func heading(e *env.Env, text string) { e.IO.Println(e.IO.Paint(console.Strong, text)) }

// aboutItself is the category of commands that the short help omits.
const aboutItself = "ABOUT PULSECTL"

// appHelp prints the help of the whole program; the short one fits 24 lines of
// 80 columns: it describes the commands of the first group, and names the others.
func appHelp(e *env.Env, app *cli.App, short bool) {
	e.IO.Prose(0, app.Name+": "+app.Usage)
	if !short {
		e.IO.Println("")
		e.IO.Prose(0, app.Description)
	}
	list := definitionsOf(app.Commands)
	for i := range list { // align the terms of all groups in one column
		list[i].Term = fmt.Sprintf("%-12s", list[i].Term)
		if end := strings.IndexAny(list[i].Text, ";:"); short && end > 0 {
			list[i].Text = list[i].Text[:end]
		}
	}
	group := ""
	for i, c := range app.Commands {
		if short && c.Category == aboutItself {
			continue
		}
		if c.Category != group {
			if !short {
				e.IO.Println("")
			}
			group = c.Category
			heading(e, group)
			if short && i > 0 {
				e.IO.Prose(2, strings.Join(namesIn(app.Commands, group), ", "))
			}
		}
		if !short || group == app.Commands[0].Category {
			e.IO.Definitions(2, list[i:i+1])
		}
	}
	if short {
		e.IO.Prose(0, "More: pulsectl COMMAND --help, pulsectl --help, pulsectl help "+topicNames[0])
		return
	}
	e.IO.Println("")
	heading(e, "FLAGS, before or after any command")
	e.IO.Definitions(2, flagsOf(app.VisibleFlags()))
	e.IO.Println("")
	heading(e, "TOPICS")
	e.IO.Prose(2, "pulsectl help "+strings.Join(topicNames, ", pulsectl help "))
}

// namesIn returns the names of the commands of a group.
func namesIn(commands []*cli.Command, group string) (names []string) {
	for _, c := range commands {
		if c.Category == group {
			names = append(names, c.Name)
		}
	}
	return names
}

func commandHelp(e *env.Env, c *cli.Command) {
	path := strings.TrimPrefix(c.HelpName, "pulsectl ")
	e.IO.Prose(0, c.HelpName+": "+c.Usage)
	if c.Description != "" {
		e.IO.Println("")
		e.IO.Prose(0, c.Description)
	}
	e.IO.Println("")
	heading(e, "USAGE")
	e.IO.Prose(2, synopsis(c))
	if commands := c.VisibleCommands(); len(commands) > 0 {
		e.IO.Println("")
		heading(e, "COMMANDS")
		e.IO.Definitions(2, definitionsOf(commands))
	}
	if flags := flagsOf(c.VisibleFlags()); len(flags) > 0 {
		e.IO.Println("")
		heading(e, "FLAGS")
		e.IO.Definitions(2, flags)
	}
	if lines := examples[path]; len(lines) > 0 {
		e.IO.Println("")
		heading(e, "EXAMPLES")
		for _, line := range lines { // not wrapped, so that they can be copied
			e.IO.Println("  " + line)
		}
	}
	e.IO.Println("")
	e.IO.Prose(0, "Flags of all commands, such as -o json: pulsectl --help")
}

// synopsis returns how a command is typed.
func synopsis(c *cli.Command) string {
	words := []string{c.HelpName}
	if len(c.Subcommands) > 0 {
		words = append(words, "COMMAND")
	}
	if len(flagsOf(c.VisibleFlags())) > 0 {
		words = append(words, "[FLAGS]")
	}
	if c.ArgsUsage != "" {
		words = append(words, c.ArgsUsage)
	}
	return strings.Join(words, " ")
}

func definitionsOf(commands []*cli.Command) []console.Definition {
	var list []console.Definition
	for _, c := range commands {
		list = append(list, console.Definition{Term: c.Name, Text: c.Usage})
	}
	return list
}

// placeholder matches the name of a flag's value within its usage.
var placeholder = regexp.MustCompile("`([^`]+)`")

// flagsOf describes flags, except --help, which every command has.
func flagsOf(flags []cli.Flag) []console.Definition {
	var list []console.Definition
	for _, f := range flags {
		described, ok := f.(cli.DocGenerationFlag)
		if !ok || f == cli.HelpFlag {
			continue
		}
		var names []string
		for _, name := range f.Names() {
			if len(name) == 1 {
				names = append([]string{"-" + name}, names...)
			} else {
				names = append(names, "--"+name)
			}
		}
		d := console.Definition{Term: strings.Join(names, ", "), Text: described.GetUsage()}
		if m := placeholder.FindStringSubmatch(d.Text); m != nil {
			d.Term += " " + m[1]
			d.Text = strings.ReplaceAll(d.Text, "`", "")
		}
		if value := described.GetDefaultText(); described.TakesValue() && value != "" && value != "0" && value != "0s" && !strings.Contains(d.Text, "(default:") {
			if length, err := time.ParseDuration(value); err == nil {
				value = clip.Duration(length)
			}
			d.Text += fmt.Sprintf(" (default: %s)", strings.Trim(value, `"`))
		}
		if variables := described.GetEnvVars(); len(variables) > 0 {
			d.Text += fmt.Sprintf(" (env %s)", variables[0])
		}
		list = append(list, d)
	}
	return list
}
