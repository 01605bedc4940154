package argv_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/argv"
)

func app() *cli.App {
	return &cli.App{
		Name: "ctl",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}},
			&cli.BoolFlag{Name: "json"},
		},
		Commands: []*cli.Command{{
			Name: "order", Aliases: []string{"ord"},
			Subcommands: []*cli.Command{
				{Name: "get", Flags: []cli.Flag{&cli.BoolFlag{Name: "deep"}}},
				{Name: "create", Flags: []cli.Flag{&cli.StringFlag{Name: "amount"}, &cli.StringFlag{Name: "output-file"}}},
			},
		}},
	}
}

func TestNormalise(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"no arguments", "ctl", "ctl"},
		{"in order already", "ctl -o json order get --deep abc", "ctl -o json order get --deep abc"},
		{"flag behind the positional", "ctl order get abc --deep", "ctl order get --deep abc"},
		{"global flag behind the subcommand", "ctl order get abc --json", "ctl --json order get abc"},
		{"global flag with a value between", "ctl order -o json get abc", "ctl -o json order get abc"},
		{"inline value", "ctl order get abc --output=json", "ctl --output=json order get abc"},
		{"value that looks like a flag", "ctl order create --amount -5", "ctl order create --amount -5"},
		{"value that is a command's name", "ctl order create --amount get", "ctl order create --amount get"},
		{"negative positional", "ctl order get -5", "ctl order get -- -5"},
		{"stdin", "ctl order get - --deep", "ctl order get --deep -"},
		{"everything behind -- is positional", "ctl order get -- --deep abc", "ctl order get -- --deep abc"},
		{"unknown flag is left to the parser", "ctl order get abc --nope", "ctl order get --nope abc"},
		{"alias of a command", "ctl ord get x --json", "ctl --json ord get x"},
		{"help stays where it was asked for", "ctl order get --help", "ctl order get --help"},
		{"version", "ctl order --version", "ctl --version order"},
		{"positional of the name of a command", "ctl order get x get", "ctl order get x get"},
		{"value missing at the end", "ctl order create --amount", "ctl order create --amount"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := argv.Normalise(app(), strings.Fields(tc.in))
			if want := strings.Fields(tc.want); !slices.Equal(got, want) {
				t.Fatalf("Normalise(%q)\n got %q\nwant %q", tc.in, got, want)
			}
			if again := argv.Normalise(app(), got); !slices.Equal(again, got) {
				t.Errorf("not idempotent: %q became %q", got, again)
			}
		})
	}
}

// A normalised line is parsed as the user meant it.
func TestNormaliseParses(t *testing.T) {
	a := app()
	var id, output string
	var deep bool
	a.Commands[0].Subcommands[0].Action = func(ctx *cli.Context) error {
		id, output, deep = ctx.Args().First(), ctx.String("output"), ctx.Bool("deep")
		return nil
	}
	if err := a.Run(argv.Normalise(a, []string{"ctl", "order", "get", "-5", "--deep", "-o", "json"})); err != nil {
		t.Fatal(err)
	}
	if id != "-5" || output != "json" || !deep {
		t.Errorf("id %q, output %q, deep %v", id, output, deep)
	}
}

func TestCommand(t *testing.T) {
	for in, want := range map[string]string{
		"ctl":                         "",
		"ctl --json":                  "",
		"ctl order get":               "order",
		"ctl -o order order":          "order",
		"ctl -o json --json order":    "order",
		"ctl --output=json order get": "order",
		"ctl --nope order":            "order",
	} {
		if got := argv.Command(app(), strings.Fields(in)); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
	if got := argv.Command(app(), strings.Fields("ctl -o get order")); got != "order" {
		t.Errorf("a value is taken for a command: %q", got)
	}
}
