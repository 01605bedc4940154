package deadletters

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Import publishes letters from a file.
type Import struct {
	// To is where they go. Zero: into the dead-letter queue.
	To     Destination
	Skip   int // lines at the beginning that are left out
	DryRun bool
	// Done, if set, is told how many lines have been read.
	Done  func(lines int)
	Audit Audit
}

// Imported is what an Import has done.
type Imported struct {
	Lines    int // read and done with, those that were skipped among them
	Letters  int // published; of a dry run what would have been
	Stripped int // letters without what would have led them elsewhere, or been refused: CC, BCC, user id
	To       string
	DryRun   bool
	AuditErr error // why not everything was recorded; nil: it was, or Audit is zero
}

// Bounds of what is on its way to the broker at once, and of one line.
const (
	importAtOnce = 256
	importBytes  = 16 << 20
	maxRecord    = 512 << 20
	importStall  = 30 * time.Second
)

// Import publishes the letters in from, lines as Export writes them, in their order
// and as they were. It ends at the first line that is wrong, or refused; Imported.Lines
// says where to go on. Of lines that were on their way then, some may have arrived.
func (q Queue) Import(ctx context.Context, from io.Reader, im Import) (done Imported, err error) {
	if im.To == (Destination{}) {
		im.To.Key = q.QueueName()
	}
	done = Imported{To: im.To.String(), DryRun: im.DryRun}
	var out *rabbit.Confirmer
	if !im.DryRun {
		conn, err := rabbit.Dial(ctx, rabbit.Config{
			URL: q.Source.URL, GetURL: q.Source.GetURL, Credentials: q.Source.Credentials, TLS: q.Source.TLS, GetTLS: q.Source.GetTLS,
			Name: "pulsectl", Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return done, fail.CannotReach("broker", err)
		}
		defer conn.Close()
		if out, err = conn.Confirmer(ctx, rabbit.ConfirmerConfig{Window: importAtOnce, Stall: importStall, BlockLimit: importStall}); err != nil {
			return done, fail.Wrap("cannot publish", err)
		}
	}
	audit := newRecorder(im.Audit, ActionImport, q.QueueName(), done.To, Filter{})
	defer func() { done.AuditErr = audit.err }()
	b := importing{audit: audit, ctx: ctx, Import: im, done: &done, out: out}
	lines := bufio.NewReaderSize(from, 1<<16)
	for number := 1; ; number++ {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return done, errors.Join(b.flush(), fail.Wrap(fmt.Sprintf("cannot read line %d", number), err))
		}
		if err := b.add(number, line); err != nil {
			return done, err
		}
	}
	return done, b.flush()
}

func readLine(r *bufio.Reader) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxRecord {
			return nil, fmt.Errorf("it is longer than %d bytes", maxRecord)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// importing is a batch of lines.
type importing struct {
	Import
	ctx   context.Context
	audit *recorder
	done  *Imported
	out   *rabbit.Confirmer // nil: a dry run
	batch []rabbit.Publishing
	lines []int    // numbers of those
	refs  []string // of those
	bytes int
	upTo  int // the last line that is in the batch, or needs nothing
}

// add takes a line.
func (b *importing) add(number int, line []byte) error {
	if b.ctx.Err() != nil {
		return errors.Join(context.Cause(b.ctx), b.flush())
	}
	if number > b.Skip && len(trimmed(line)) > 0 {
		var r Record
		if err := strict(line, &r); err != nil {
			if flushErr := b.flush(); flushErr != nil {
				return flushErr
			}
			return fail.Usagef(fmt.Sprintf("mend the line and go on with --skip %d; lines are as dlq export writes them", number-1), "line %d: %v", number, err)
		}
		p, stripped := importable(&r, b.To)
		if stripped {
			b.done.Stripped++
		}
		b.batch, b.lines, b.refs = append(b.batch, p), append(b.lines, number), append(b.refs, r.ID)
		b.bytes += len(line)
	}
	if b.upTo = number; len(b.batch) == importAtOnce || b.bytes > importBytes || len(b.batch) == 0 {
		return b.flush()
	}
	return nil
}

func trimmed(line []byte) []byte {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r' || line[len(line)-1] == ' ') {
		line = line[:len(line)-1]
	}
	return line
}

// importable is the message of a record, without what the broker would act on.
func importable(r *Record, to Destination) (p rabbit.Publishing, stripped bool) {
	p = rabbit.Publishing{Exchange: to.Exchange, Key: to.Key, Publishing: r.publishing()}
	for _, name := range []string{"CC", "BCC"} {
		if _, has := p.Headers[name]; has {
			delete(p.Headers, name)
			stripped = true
		}
	}
	if p.UserId != "" {
		p.UserId, stripped = "", true
	}
	return p, stripped
}

func (b *importing) flush() error {
	defer func() { b.batch, b.lines, b.refs, b.bytes = b.batch[:0], b.lines[:0], b.refs[:0], 0 }()
	if b.out == nil {
		b.done.Letters += len(b.batch)
		b.finish()
		return nil
	}
	if len(b.batch) > 0 {
		b.audit.begin(b.ctx)
		defer b.audit.flush(b.ctx)
		for i, err := range b.out.Publish(context.WithoutCancel(b.ctx), b.batch) {
			if err != nil {
				b.done.Lines = b.lines[i] - 1
				kind := fail.General
				if b.done.Letters > 0 {
					kind = fail.Partial
				}
				return &fail.Error{Kind: kind, Message: fmt.Sprintf("line %d was not imported", b.lines[i]), Cause: err,
					Hint: fmt.Sprintf("when the cause is gone, go on with --skip %d", b.done.Lines)}
			}
			b.done.Letters++
			b.audit.add(b.ctx, b.refs[i])
		}
	}
	b.finish()
	return nil
}

func (b *importing) finish() {
	b.done.Lines = max(b.done.Lines, b.upTo)
	if b.Done != nil {
		b.Done(b.done.Lines)
	}
}
