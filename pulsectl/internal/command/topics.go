package command

import (
	"embed"
	"regexp"
	"strings"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
)

//go:embed topics/*.txt
var topicFiles embed.FS

// topicNames lists the help topics in the order they are shown.
var topicNames = []string{"exit-codes", "environment", "output", "guarantees"}

// block is a part of a topic: terms with their definitions, a paragraph, or a
// verbatim line.
type block struct {
	definitions []console.Definition
	paragraph   string
	verbatim    string
}

// term matches a line that begins a definition: the term, two or more blanks,
// and the text. Lines with more indentation continue it.
var term = regexp.MustCompile(`^  (\S.*?)  +(\S.*)$`)

// topic parses a help topic into its title and blocks.
func topic(name string) (title string, blocks []block, err error) {
	text, err := topicFiles.ReadFile("topics/" + name + ".txt")
	if err != nil {
		return "", nil, err
	}
	title, body, _ := strings.Cut(string(text), "\n\n")
	for part := range strings.SplitSeq(strings.Trim(body, "\n"), "\n\n") {
		var b block
		for line := range strings.SplitSeq(part, "\n") {
			n := len(b.definitions)
			switch m := term.FindStringSubmatch(line); {
			case n > 0 && strings.HasPrefix(line, "    "):
				b.definitions[n-1].Text += " " + strings.TrimSpace(line)
			case m != nil:
				b.definitions = append(b.definitions, console.Definition{Term: m[1], Text: m[2]})
			case strings.HasPrefix(line, "    "):
				b.verbatim = strings.TrimSpace(line)
			default:
				b.paragraph = strings.TrimSpace(b.paragraph + " " + strings.TrimSpace(line))
			}
		}
		blocks = append(blocks, b)
	}
	return title, blocks, nil
}

// showTopic prints a help topic, fitted to the terminal.
func showTopic(e *env.Env, name string) error {
	title, blocks, err := topic(name)
	if err != nil {
		return err
	}
	heading(e, title)
	for _, b := range blocks {
		e.IO.Println("")
		switch {
		case len(b.definitions) > 0:
			e.IO.Definitions(2, b.definitions)
		case b.verbatim != "":
			e.IO.Println("    " + b.verbatim)
		default:
			e.IO.Prose(2, b.paragraph)
		}
	}
	return nil
}
