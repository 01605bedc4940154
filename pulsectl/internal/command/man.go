package command

import (
	"fmt"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
)

func manCommand(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "man", Usage: "print the manual page",
		Action: func(ctx *cli.Context) error {
			page, err := manual(ctx.App)
			if err != nil {
				return err
			}
			if e.IO.OutTTY {
				e.IO.Notef("to read it: pulsectl man | man -l -")
			}
			e.IO.Println(strings.TrimRight(string(md2man.Render([]byte(page))), "\n"))
			return nil
		},
	}
}

// manual returns the manual page in Markdown, generated from the help texts.
func manual(app *cli.App) (string, error) {
	var b strings.Builder
	section := func(name string) { fmt.Fprintf(&b, "# %s\n\n", name) }
	verbatim := func(text string) {
		fmt.Fprintf(&b, "```\n%s\n```\n\n", text)
	}
	definitions := func(list []console.Definition) {
		for _, d := range list {
			fmt.Fprintf(&b, "**%s**\n:   %s\n\n", escape(d.Term), escape(d.Text))
		}
	}
	fmt.Fprintf(&b, "%% PULSECTL 1 %q %q %q\n\n", revisionDate(), "pulsectl "+app.Version, "Pulse Events")
	section("NAME")
	fmt.Fprintf(&b, "pulsectl - %s\n\n", escape(app.Usage))
	section("SYNOPSIS")
	fmt.Fprintf(&b, "**pulsectl** [FLAGS] COMMAND [FLAGS] [ARGUMENTS]\n\n")
	section("DESCRIPTION")
	fmt.Fprintf(&b, "%s\n\n", escape(strings.ReplaceAll(app.Description, "\n", " ")))
	section("FLAGS")
	definitions(flagsOf(app.VisibleFlags()))
	section("COMMANDS")
	var describe func(path string, c *cli.Command)
	describe = func(path string, c *cli.Command) {
		path = strings.TrimSpace(path + " " + c.Name)
		for _, sub := range c.Subcommands {
			describe(path, sub)
		}
		if len(c.Subcommands) > 0 || c.Hidden {
			return
		}
		fmt.Fprintf(&b, "## %s\n\n%s.\n\n", escape(path+" "+c.ArgsUsage), escape(c.Usage))
		if c.Description != "" {
			fmt.Fprintf(&b, "%s\n\n", escape(c.Description))
		}
		verbatim(strings.Join(examples[path], "\n"))
		definitions(flagsOf(c.VisibleFlags()))
	}
	for _, c := range app.Commands {
		describe("", c)
	}
	for _, t := range []struct{ title, topic string }{{"OUTPUT", "output"}, {"EXIT STATUS", "exit-codes"}, {"ENVIRONMENT", "environment"}, {"GUARANTEES", "guarantees"}} {
		_, blocks, err := topic(t.topic)
		if err != nil {
			return "", err
		}
		section(t.title)
		for _, block := range blocks {
			switch {
			case len(block.definitions) > 0:
				definitions(block.definitions)
				b.WriteString("<!-- -->\n\n") // ends the list
			case block.verbatim != "":
				verbatim(block.verbatim)
			default:
				fmt.Fprintf(&b, "%s\n\n", escape(block.paragraph))
			}
		}
	}
	return b.String(), nil
}

// escape escapes what Markdown would interpret in a text.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "[", `\[`, "<", `\<`, "`", "\\`", "|", `\|`, "#", `\#`, "\n", "  \n").Replace(strings.TrimSpace(text))
}
