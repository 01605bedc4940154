package program

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/asimalizada/pulse-events/pulsectl/pending"
)

// consumer is a service that can tell which waiting messages it could not handle.
type consumer interface {
	Pending(ctx context.Context) (pending.Report, error)
}

// incomplete is the exit code where something could not be looked at.
const incomplete = 3

// listPending prints the messages that wait and that this version of the service would
// dead-letter, a line each, for a pipeline that is about to deploy it. It returns 0 if
// there is none, 1 if there are some, and 3 if not all could be looked at.
func listPending(c consumer, stdout, stderr io.Writer) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := c.Pending(ctx)
	for _, b := range report.Broken {
		fmt.Fprintf(stdout, "%s\t%s\t%s\t%s\t%s\n", b.Place, b.State, b.ID, b.Type, b.Problem)
	}
	for _, text := range report.NotLooked {
		fmt.Fprintln(stderr, "not looked at:", text)
	}
	fmt.Fprintf(stderr, "%d messages looked at, %d would be dead letters\n", report.Looked, report.Breaks)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "error:", err)
		return failed
	case report.Breaks > 0:
		return failed
	case len(report.NotLooked) > 0:
		return incomplete
	}
	return succeeded
}
