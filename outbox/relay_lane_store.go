package outbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/internal/health"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// stored is a batch whose outcomes were written back.
type stored struct {
	sent
	kept  []bool // the outcome of each row is in the database
	tries int    // how many it took
}

// writeBack has the outcomes of a batch as the statements take them.
type writeBack struct {
	leases []lease
	seqs   []int64     // published
	ids    []uuid.UUID // theirs
	unsent []failedRow
}

// failedRow is what is stored of a row that is not published.
type failedRow struct {
	Seq    int64     `json:"seq"`
	ID     uuid.UUID `json:"id"`
	Status Status    `json:"status"`
	Delay  int64     `json:"delay"` // in microseconds from the database's present
	Error  string    `json:"error"`
	// Attempts as they were read: a try that was carried out, although the answer was
	// lost, has counted one more, and the next try is to count none.
	Attempts int `json:"attempts"`
}

// store writes every outcome of a batch back in one transaction, which the
// leases fence. While the database does not answer it tries again: sending
// the messages again would make duplicates. When work ends it tries once more.
func (l *lane) store(work context.Context, s sent) (stored, error) {
	w := l.writeBack(s)
	if len(w.leases) == 0 {
		return stored{s, make([]bool, len(s.rows)), 0}, nil
	}
	for tries := 1; ; tries++ {
		last := work.Err() != nil
		seqs, err := l.write(work, last, w)
		switch {
		case err == nil:
			done := stored{s, s.among(seqs), tries}
			counts := done.counts()
			l.relay.monitor.stored(work, counts)
			l.relay.metrics.fenced(work, counts.fenced)
			return done, nil
		case last:
			return stored{}, fmt.Errorf("write back: %w", err)
		case tries == 1 && sqldb.Retryable(err):
			continue
		}
		l.relay.monitor.trouble(work, l.name, fmt.Errorf("write back: %w", l.explainLocks(work, w, sqldb.Explain(err))))
		sleep(work, retryPause(tries))
	}
}

// writeBack collects what there is to store.
func (l *lane) writeBack(s sent) (w writeBack) {
	included := make(map[int]bool)
	for i, row := range s.rows {
		switch o := s.outcomes[i]; o.verdict {
		case none:
			continue
		case published:
			w.seqs, w.ids = append(w.seqs, row.Seq), append(w.ids, row.ID)
		default:
			w.unsent = append(w.unsent, l.failedRow(row, o))
		}
		if !included[row.bucket] {
			included[row.bucket] = true
			w.leases = append(w.leases, s.spans[row.bucket].lease)
		}
	}
	return w
}

// failedRow returns what is stored of a row that is to be tried again, or dead.
func (l *lane) failedRow(row *outgoing, o outcome) failedRow {
	f := failedRow{Seq: row.Seq, ID: row.ID, Status: Pending, Error: errorText(o.err), Attempts: row.attempts}
	if o.verdict == dead {
		f.Status = Dead
		return f
	}
	f.Delay = max(0, l.relay.cfg.backoff(row.attempts+1, o.err)).Microseconds()
	return f
}

// explainLocks adds to an error about locks who holds them.
func (l *lane) explainLocks(ctx context.Context, w writeBack, err error) error {
	if sqldb.SQLState(err) != "55P03" {
		return err
	}
	seqs := slices.Clone(w.seqs)
	for _, f := range w.unsent {
		seqs = append(seqs, f.Seq)
	}
	return fmt.Errorf("%w: %s", err, l.relay.holders(ctx, "message_holders", jsonText(seqs)))
}

// lastWriteTimeout bounds the write-back after work has ended.
const lastWriteTimeout = 2 * time.Second

// write returns the seqs whose outcome is stored; that of others was refused.
func (l *lane) write(work context.Context, last bool, w writeBack) (seqs []int64, err error) {
	if last {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(work), lastWriteTimeout)
		defer cancel()
		work = ctx
	}
	publish := "mark_published"
	if l.relay.cfg.Retention == DeleteOnPublish {
		publish = "delete_published"
	}
	var done, marked []int64
	err = l.relay.write(work, func(ctx context.Context, tx *sqldb.Tx) error {
		if len(w.seqs) > 0 {
			if err := tx.Select(ctx, &done, publish, jsonText(w.leases), jsonText(w.seqs), jsonText(w.ids)); err != nil {
				return err
			}
		}
		if len(w.unsent) > 0 {
			return tx.Select(ctx, &marked, "mark_failed", jsonText(w.leases), jsonText(w.unsent))
		}
		return nil
	})
	return append(done, marked...), err
}

// among reports of each row whether its seq is one of seqs.
func (s sent) among(seqs []int64) []bool {
	set := make(map[int64]bool, len(seqs))
	for _, seq := range seqs {
		set[seq] = true
	}
	kept := make([]bool, len(s.rows))
	for i, row := range s.rows {
		kept[i] = set[row.Seq]
	}
	return kept
}

// errUnstored, as the health handler shows it: the database accepts outcomes and does
// not keep them.
const errUnstored = health.Public("verdicts are not stored")

// checkStored returns an error when the database keeps refusing outcomes although
// the leases hold: what is published then is published again and again.
func (l *lane) checkStored(s stored) error {
	refused := 0
	for i, row := range s.rows {
		switch {
		case s.kept[i]:
			l.unstored = 0
			return nil
		case s.outcomes[i].verdict != none && l.relay.leases.valid(s.spans[row.bucket].lease):
			refused++
		}
	}
	if refused == 0 {
		return nil
	}
	if l.unstored++; l.unstored < maxStuck {
		return nil
	}
	return fmt.Errorf("%w, the last on %d messages, although no other relay has the leases: a trigger, a rule or a policy keeps rows of outbox_messages as they are", errUnstored, refused)
}

// unknown returns how many messages were handed over without ever getting a
// verdict, because work ended.
func (s stored) unknown(work context.Context) (n int64) {
	if work.Err() == nil {
		return 0
	}
	for _, o := range s.outcomes {
		if o.handed && o.verdict == none {
			n++
		}
	}
	return n
}

// storeCounts says how many outcomes of which kind were stored, and gives an
// example of those that are no success.
type storeCounts struct {
	published, failed, dead, fenced int
	failedExample, deadExample      example
}

type example struct {
	*outgoing
	err error
}

func (s stored) counts() (c storeCounts) {
	for i, o := range s.outcomes {
		switch {
		case o.verdict == none:
		case !s.kept[i]:
			// A write-back that failed may have been carried out all the same; then
			// the second one changes nothing.
			if s.tries == 1 {
				c.fenced++
			}
		case o.verdict == published:
			c.published++
		case o.verdict == failed:
			c.failed++
			c.failedExample = example{s.rows[i], o.err}
		default:
			c.dead++
			c.deadExample = example{s.rows[i], o.err}
		}
	}
	return c
}

// maxErrorText limits the stored text of an error, in bytes.
const maxErrorText = 1000

// errorText is err as a column can hold it.
func errorText(err error) string {
	return clip.Text(err.Error(), maxErrorText, "…")
}
