package command

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/argv"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/messages"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
)

// newTestEnv writes into out.
func newTestEnv(out *bytes.Buffer) *env.Env {
	c := &console.IO{Out: out, Err: out, Now: time.Now}
	nowhere := func(string) string { return "" }
	c.SetColor(console.ColorNever, nowhere)
	return &env.Env{IO: c, Getenv: nowhere}
}

// leaves are the commands of users that do something, by the words that call them.
func leaves(commands []*cli.Command, path string) map[string]*cli.Command {
	all := map[string]*cli.Command{}
	for _, c := range commands {
		name := strings.TrimSpace(path + " " + c.Name)
		if len(c.Subcommands) == 0 && !c.Hidden {
			all[name] = c
		}
		for name, leaf := range leaves(c.Subcommands, name) {
			all[name] = leaf
		}
	}
	return all
}

var (
	typedCommand = regexp.MustCompile(`pulsectl [^|>)]*`)
	typedWord    = regexp.MustCompile(`'[^']*'|\S+`)
)

// Every command shows how it is used, and its examples are valid.
func TestHelpExamples(t *testing.T) {
	e := newTestEnv(new(bytes.Buffer))
	known := leaves(newApp(e).Commands, "")
	for path := range examples {
		if known[path] == nil {
			t.Errorf("examples of a command that is not there: %s", path)
		}
	}
	for path, c := range known {
		if c.Usage == "" {
			t.Errorf("%s: no usage", path)
		}
		if len(examples[path]) == 0 {
			t.Errorf("%s: no example (examples.go)", path)
		}
		itself := false
		for _, example := range examples[path] {
			for _, typed := range typedCommand.FindAllString(example, -1) {
				words := typedWord.FindAllString(typed, -1)
				for i, word := range words {
					words[i] = strings.Trim(word, "'")
				}
				called := call(t, words)
				itself = itself || called == path
				if called == "" {
					t.Errorf("%s: %q calls nothing", path, typed)
				}
			}
		}
		if !itself && len(examples[path]) > 0 {
			t.Errorf("%s: none of its examples calls it", path)
		}
	}
}

// call returns which command a command line calls. It has to be one without a
// mistake in flags and arguments; nothing is done.
func call(t *testing.T, words []string) (called string) {
	t.Helper()
	app := newApp(newTestEnv(new(bytes.Buffer)))
	for path, c := range leaves(app.Commands, "") {
		c.Action = func(ctx *cli.Context) error {
			called = path
			if c.ArgsUsage == "" && ctx.Args().Present() {
				t.Errorf("%q: %s takes no arguments", words, path)
			}
			return nil
		}
	}
	if err := app.RunContext(context.Background(), argv.Normalise(app, words)); err != nil {
		t.Errorf("%q: %v", words, err)
	}
	return called
}

// No line of help is wider than 80 columns, except examples and a few long words.
func TestHelpWidth(t *testing.T) {
	var out bytes.Buffer
	e := newTestEnv(&out)
	app := newApp(e)
	appHelp(e, app, true)
	if lines := strings.Count(out.String(), "\n"); lines > 23 {
		t.Errorf("what pulsectl alone says takes %d lines: a terminal of 24, with its prompt, shows its end", lines)
	}
	appHelp(e, app, false)
	for path := range leaves(app.Commands, "") {
		if err := app.Run(append([]string{"pulsectl"}, append(strings.Fields(path), "--help")...)); err != nil {
			t.Error(err)
		}
	}
	for _, name := range topicNames {
		if err := showTopic(e, name); err != nil {
			t.Error(err)
		}
	}
	for line := range strings.Lines(out.String()) {
		if line = strings.TrimRight(line, "\n"); len([]rune(line)) > 80 && !strings.HasPrefix(line, "  pulsectl ") {
			t.Errorf("%d columns: %s", len([]rune(line)), line)
		}
	}
}

func TestCompletion(t *testing.T) {
	t.Chdir(t.TempDir())
	e := newTestEnv(new(bytes.Buffer))
	app := newApp(e)
	for typed, want := range map[string]string{
		"d":                                  "demo down doctor dlq",
		"outbox ":                            "ls show stats errors tail relays trace retry discard purge pause resume pauses audit wait",
		"outbox --color never ":              "ls show stats errors tail relays trace retry discard purge pause resume pauses audit wait",
		"-o json outbox l":                   "ls",
		"outbox ls --sta":                    "--status",
		"outbox ls --status ":                "pending published dead discarded retrying",
		"outbox ls --status pending,d":       "pending,dead pending,discarded",
		"outbox ls --status=p":               "--status=pending --status=published",
		"outbox ls --columns id,last":        "id,lastError",
		"inbox ls --columns c":               "consumer correlationId",
		"outbox ls -o j":                     "json jsonl",
		"outbox ls --output=w":               "--output=wide",
		"outbox show ":                       "", // ids are in the database, which is not asked
		"outbox retry --":                    "--all --status --topic --type --key --correlation-id --error --since --limit --reason --yes --dry-run --output --json --quiet --color --outbox-db --inbox-db --amqp-url --orders-url --notifications-url --api-token-file --queue --consumer --retry-delays --management-url --help",
		"up --stack ":                        "embedded compose external",
		"down --stack ":                      "compose",
		"up --data-dir ":                     ":folders",
		"up --compose-file x":                ":files",
		"up --profile ":                      "", // there is no compose file
		"help ex":                            "exit-codes",
		"help outbox s":                      "show stats",
		"completion ":                        "bash zsh fish",
		"completion bash ":                   "",
		"order create --wait ":               "published handled",
		"verify --only l":                    "lost",
		"migrate up --only ":                 "outbox inbox",
		"migrate print --dialect ":           "postgres sqlite",
		"order create --customer outbox --w": "--wait",
		"nonsense ":                          "",
	} {
		words := strings.Split(typed, " ")
		var got []string
		for _, c := range candidates(e, app, words) {
			got = append(got, c.word)
		}
		if !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("pulsectl %s<TAB>: %q, want %q", typed, got, want)
		}
	}
}

// Completion offers the values that the commands accept.
func TestCompletionAccepted(t *testing.T) {
	e := newTestEnv(new(bytes.Buffer))
	for _, c := range values(e, []string{"outbox", "ls"}, &cli.StringFlag{Name: "status"}) {
		if _, _, err := messages.ParseStatuses(c.word); err != nil {
			t.Errorf("--status %s: %v", c.word, err)
		}
	}
	for _, c := range values(e, []string{"outbox", "ls"}, &cli.StringFlag{Name: "output"}) {
		if _, err := console.ParseFormat(c.word); err != nil {
			t.Errorf("--output %s: %v", c.word, err)
		}
	}
	for _, c := range values(e, []string{"order", "create"}, &cli.StringFlag{Name: "wait"}) {
		if err := (messages.NewOrder{Customer: "c", Amount: "1", Wait: c.word}).Validate(); err != nil {
			t.Errorf("--wait %s: %v", c.word, err)
		}
	}
	for _, c := range values(e, []string{"migrate", "print"}, &cli.StringFlag{Name: "dialect"}) {
		if err := messages.PrintSchema(t.Context(), e, "", outbox.Dialect(c.word)); err != nil {
			t.Errorf("--dialect %s: %v", c.word, err)
		}
	}
}
