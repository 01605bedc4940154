package command

import (
	"embed"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

//go:embed topics/*.txt
var topics embed.FS

// topicNames lists the help topics in the order they are shown.
var topicNames = []string{"exit-codes", "environment", "output", "guarantees"}

func helpCommand(env *Env) *cli.Command {
	return &cli.Command{
		Name: "help", Usage: "explain a topic: " + strings.Join(topicNames, ", "), ArgsUsage: "[TOPIC | COMMAND...]",
		Action: func(ctx *cli.Context) error {
			if !ctx.Args().Present() {
				return cli.ShowAppHelp(ctx)
			}
			word := ctx.Args().First()
			if slices.Contains(topicNames, word) {
				text, err := topics.ReadFile("topics/" + word + ".txt")
				if err != nil {
					return err
				}
				env.IO.Println(strings.TrimRight(string(text), "\n"))
				return nil
			}
			// help outbox ls = outbox ls --help
			commands := ctx.App.Commands
			args := []string{ctx.App.Name}
			for _, word := range ctx.Args().Slice() {
				i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(word) })
				if i < 0 {
					return fail.Usagef("topics: "+strings.Join(topicNames, ", "), "no help for %q", word)
				}
				args = append(args, word)
				commands = commands[i].Subcommands
			}
			return ctx.App.RunContext(ctx.Context, append(args, "--help"))
		},
	}
}
