package deadletters

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Discard removes letters for good.
type Discard struct {
	Filter Filter
	Limit  int // most letters that go; 0: any number
	DryRun bool
	Reason string // why; required
	By     string // who; empty: unknown
	// To is where the letters are written before they go, a Record a line. Nil:
	// nowhere. It is synced, if it is a file, before the broker is told.
	To io.Writer
	// Done, if set, is told of each letter that was discarded.
	Done  func(l *Letter, err error)
	Audit Audit
}

// Discard removes letters, each when To has it. What is said of ctx at Requeue
// holds as well. A process that is killed leaves in the queue what it has written,
// some hundred letters at most: they are not lost, but they are there twice.
func (q Queue) Discard(ctx context.Context, d Discard) (Report, error) {
	s := newSweeper(ctx, q, d.Filter, d.Limit, d.DryRun)
	s.report.AlreadyApplied = -1
	s.done = d.Done
	s.audit = newRecorder(d.Audit, ActionDiscard, s.report.Queue, "", d.Filter)
	if d.Reason == "" {
		return s.report, fail.Usagef("for example: --reason 'test orders of last Friday'", "--reason is missing: discarding is for good")
	}
	if d.To != nil && !d.DryRun {
		out := NewWriter(d.To)
		s.read = func(letter *Detail) error {
			record := newRecord(letter)
			record.Discarded = &Discarded{Reason: d.Reason, At: time.Now().UTC(), By: d.By}
			return out.write(&record)
		}
		s.commit = func([]Letter) error { return out.Sync() }
	}
	return s.run(inboxrabbit.Sweep{}, inboxrabbit.Drop)
}

// Writer writes letters as lines of JSON.
type Writer struct {
	to  io.Writer
	out *bufio.Writer
}

// NewWriter returns a Writer to a file, or anything else.
func NewWriter(to io.Writer) *Writer { return &Writer{to: to, out: bufio.NewWriterSize(to, 1<<16)} }

// Write writes a letter.
func (w *Writer) Write(d *Detail) error {
	record := newRecord(d)
	return w.write(&record)
}

func (w *Writer) write(r *Record) error {
	line, err := marshal(r)
	if err == nil {
		_, err = w.out.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write letter %s: %w", r.ID, err)
	}
	return nil
}

// Sync writes what is buffered, and has a file stored on its disk.
func (w *Writer) Sync() error {
	err := w.out.Flush()
	if file, is := w.to.(*os.File); is && err == nil {
		if info, statErr := file.Stat(); statErr == nil && info.Mode().IsRegular() { // a pipe cannot be synced
			err = file.Sync()
		}
	}
	if err != nil {
		return fmt.Errorf("write the letters: %w", err)
	}
	return nil
}

// Export writes the letters that match a filter, and returns how many. It changes
// nothing.
func (q Queue) Export(ctx context.Context, f Filter, to io.Writer) (written int, err error) {
	out := NewWriter(to)
	err = q.Each(ctx, func(d *Detail) error {
		if !f.Match(&d.Letter) {
			return nil
		}
		written++
		return out.Write(d)
	})
	if err == nil {
		err = out.Sync()
	}
	return written, err
}
