package env

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// maxLine limits a line with an id: lines of objects may be long.
const maxLine = 1 << 20

// line is a line of a list with its id.
type line struct {
	number int
	id     string
}

// idLines reads a list of ids, one per line, in any form that commands print:
// bare, in quotes, in a table, or as objects of -o jsonl. Empty lines and those
// that begin with # are skipped. An error ends the sequence.
func idLines(r io.Reader) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, 4096), maxLine)
		n := 0
		for lines.Scan() {
			n++
			text := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\uFEFF"))
			if text == "" || strings.HasPrefix(text, "#") {
				continue
			}
			if !yield(line{n, idIn(text)}, nil) {
				return
			}
		}
		switch err := lines.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			yield(line{}, fmt.Errorf("line %d is longer than %d bytes: it contains no id", n+1, maxLine))
		case err != nil:
			yield(line{}, err)
		}
	}
}

// idIn returns the id in a line: the first field that is a UUID, or the line
// without quotes and commas.
func idIn(text string) string {
	if strings.HasPrefix(text, "{") {
		var object struct{ EventID, ID, OrderID string }
		if json.Unmarshal([]byte(text), &object) == nil {
			for _, id := range []string{object.EventID, object.ID, object.OrderID} {
				if id != "" {
					return id
				}
			}
		}
	}
	const around = "\"',;[]"
	for field := range strings.FieldsSeq(text) {
		if id, err := uuid.Parse(strings.Trim(field, around)); err == nil {
			return id.String()
		}
	}
	return strings.Trim(text, around)
}

// ReadIDs returns the event ids among args without repetitions; "-" stands for
// those on stdin, one per line.
func (e *Env) ReadIDs(args []string) (ids []uuid.UUID, err error) {
	seen := make(map[uuid.UUID]bool)
	add := func(word, where string) error {
		id, err := uuid.Parse(word)
		if err != nil {
			return fail.Usagef("ids are printed by: pulsectl outbox ls -q", "%s%q is not an event id", where, word)
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
		return nil
	}
	for _, arg := range args {
		if arg != "-" {
			if err := add(arg, ""); err != nil {
				return nil, err
			}
			continue
		}
		for l, err := range idLines(e.IO.In) {
			if err != nil {
				return nil, fail.Wrap("cannot read ids from stdin", err)
			}
			if err := add(l.id, fmt.Sprintf("line %d of stdin: ", l.number)); err != nil {
				return nil, err
			}
		}
	}
	return ids, nil
}

// IDList opens a file with ids; "-" is stdin.
func (e *Env) IDList(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(e.IO.In), nil
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, fail.Usagef("", "--ids: %v", err)
	}
	return file, nil
}

// EachID yields the ids of a list in any form that commands print. An error
// ends it.
func EachID(r io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for l, err := range idLines(r) {
			if err != nil {
				err = fail.Wrap("cannot read --ids", err)
			}
			if !yield(l.id, err) {
				return
			}
		}
	}
}

// ChooseIDs reads the ids of a command that also takes a flag for all.
func (e *Env) ChooseIDs(ctx *cli.Context, allFlag string) ([]uuid.UUID, error) {
	all := allFlag != "" && ctx.Bool(allFlag)
	switch {
	case all && ctx.Args().Present():
		return nil, fail.Usagef("", "give ids or --%s, not both", allFlag)
	case !all && !ctx.Args().Present():
		return nil, fail.Usagef(fmt.Sprintf("run: %s %s", ctx.Command.HelpName, ctx.Command.ArgsUsage), "no event id given")
	}
	return e.ReadIDs(ctx.Args().Slice())
}
