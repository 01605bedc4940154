package contract

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/contracts"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// judged is a document and what a contract says of it.
type judged struct{ document, contract, problem string }

var judgedColumns = []console.Column[judged]{
	{Key: "document", Value: func(j judged) any { return j.document }, ID: true},
	{Key: "contract", Value: func(j judged) any { return j.contract }},
	{Key: "valid", Value: func(j judged) any { return j.problem == "" }},
	{Key: "problem", Value: func(j judged) any { return j.problem }, Wrap: true},
}

func validate(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "validate", Usage: "check that the contracts can be used; with files, that documents satisfy one: exit 1 if not",
		ArgsUsage: "[FILE...|-]",
		Flags: []cli.Flag{dirFlag(),
			&cli.StringFlag{Name: "contract", Usage: "`NAME` of the contract of the documents: a type or topic, or with a version, such as order.created/1 (default: the newest)"},
			&cli.BoolFlag{Name: "producer", Usage: "refuse properties that the contract does not declare, as Enqueue does"}},
		Action: func(ctx *cli.Context) error {
			files, set, err := load(ctx)
			if err != nil {
				return err
			}
			name := ctx.String("contract")
			if ctx.NArg() == 0 {
				if name != "" {
					return fail.Usagef("name the files, or - for standard input", "--contract: there are no documents")
				}
				unknown, err := contracts.Unproven(files, set)
				if err != nil {
					return err
				}
				for _, place := range unknown {
					e.IO.Notef("warning: %s: a keyword without a known meaning; diff and check cannot prove anything of it", place)
				}
				return console.RenderList(e.IO, console.List[judged]{Columns: judgedColumns[:3], Items: allValid(set.All())})
			}
			if name == "" {
				return fail.Usagef("for example: --contract order.created", "--contract: the contract of the documents is not given")
			}
			role := set.Consumer()
			if ctx.Bool("producer") {
				role = set.Producer()
			}
			m := wire.Message{Type: name, ContentType: wire.DefaultContentType}
			if at := strings.LastIndexByte(name, '/'); at > 0 && role.Newest(m) == 0 {
				if version, err := strconv.Atoi(name[at+1:]); err == nil {
					m.Type, m.Version = name[:at], version
				}
			}
			if role.Newest(m) == 0 {
				return fail.New(fail.NotFound, "see: pulsectl contract ls", "there is no contract %q", name)
			}
			if m.Version == 0 {
				m.Version = role.Newest(m)
			}
			return judge(e, role, m, ctx.Args().Slice())
		},
	}
}

// allValid are the contracts of a set that was loaded.
func allValid[C fmt.Stringer](all []C) (list []judged) {
	for _, c := range all {
		list = append(list, judged{document: c.String(), contract: "JSON Schema 2020-12"})
	}
	return list
}

// judge checks documents with a contract.
func judge(e *env.Env, role wire.Contracts, m wire.Message, files []string) error {
	var list []judged
	broken := 0
	for _, file := range files {
		var err error
		if file == "-" {
			m.Payload, err = io.ReadAll(e.IO.In)
		} else {
			m.Payload, err = os.ReadFile(file)
		}
		if err != nil {
			return &fail.Error{Kind: fail.NotFound, Message: "cannot read the document", Cause: err}
		}
		j := judged{document: file, contract: fmt.Sprintf("%s/%d", m.Type, m.Version)}
		if err := role.Check(m); err != nil {
			j.problem = err.Error()
			broken++
		}
		list = append(list, j)
	}
	if err := console.RenderList(e.IO, console.List[judged]{Columns: judgedColumns, Items: list}); err != nil {
		return err
	}
	if broken > 0 {
		return &fail.Error{Kind: fail.General, Silent: true, Message: fmt.Sprintf("%d documents break their contract", broken)}
	}
	return nil
}
