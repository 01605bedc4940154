package env

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Confirm asks on a terminal; elsewhere it returns an error that names the
// flag.
func (e *Env) Confirm(question string) error {
	if !e.IO.InTTY || !e.IO.ErrTTY {
		return fail.Usagef("add --yes", "%s There is no terminal to ask", question)
	}
	fmt.Fprintf(e.IO.Err, "%s [y/N] ", question)
	answer, err := bufio.NewReader(e.IO.In).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); err != nil || (a != "y" && a != "yes") {
		return fail.New(fail.General, "", "not confirmed; nothing was changed")
	}
	return nil
}
