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

// settlement is what one write-back came to.
type settlement struct {
	published, failed, dead, fenced int
	failedExample, deadExample      *outgoing
}

// failure is a verdict that is not a success, as the write-back takes it.
type failure struct {
	Seq    int64     `json:"seq"`
	ID     uuid.UUID `json:"id"`
	Status Status    `json:"status"`
	Delay  int64     `json:"delay"` // in microseconds from the database's present
	Error  string    `json:"error"`
}

// verdicts are those of a batch, as the write-back takes them.
type verdicts struct {
	leases   []lease
	seqs     []int64     // published
	ids      []uuid.UUID // theirs
	failures []failure
}

// settle writes every verdict of a batch back in one transaction, which the
// leases fence. While the database does not answer it tries again: sending
// the messages again would make duplicates. When work ends it tries once more.
func (l *lane) settle(work context.Context, b *batch) error {
	v := l.verdicts(b)
	if len(v.leases) == 0 {
		return nil
	}
	for tries := 1; ; tries++ {
		last := work.Err() != nil
		stored, err := l.writeBack(work, last, v)
		switch {
		case err == nil:
			b.store(stored)
			// A write-back that failed may have been carried out all the same; then
			// the fence refuses the second one.
			l.relay.monitor.settled(work, b.settlement(tries == 1))
			return nil
		case last:
			return fmt.Errorf("write back: %w", err)
		case tries == 1 && sqldb.Retryable(err):
			continue
		}
		l.relay.monitor.trouble(work, l.name, fmt.Errorf("write back: %w", l.explainLocks(work, v, sqldb.Explain(err))))
		sleep(work, retryPause(tries))
	}
}

// verdicts collects what there is to store.
func (l *lane) verdicts(b *batch) (v verdicts) {
	included := make(map[int]bool)
	for _, row := range b.rows {
		switch row.verdict {
		case none:
			continue
		case published:
			v.seqs, v.ids = append(v.seqs, row.Seq), append(v.ids, row.ID)
		default:
			v.failures = append(v.failures, l.failure(row))
		}
		if !included[row.bucket] {
			included[row.bucket] = true
			v.leases = append(v.leases, b.asked[row.bucket].lease)
		}
	}
	return v
}

// explainLocks adds to an error about locks who holds them.
func (l *lane) explainLocks(ctx context.Context, v verdicts, err error) error {
	if sqldb.SQLState(err) != "55P03" {
		return err
	}
	seqs := slices.Clone(v.seqs)
	for _, f := range v.failures {
		seqs = append(seqs, f.Seq)
	}
	return fmt.Errorf("%w: %s", err, l.relay.holders(ctx, "message_holders", jsonText(seqs)))
}

// lastWriteTimeout bounds the write-back after work has ended.
const lastWriteTimeout = 2 * time.Second

// writeBack returns the seqs whose verdict is stored; that of others was
// refused.
func (l *lane) writeBack(work context.Context, last bool, v verdicts) (stored []int64, err error) {
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
		if len(v.seqs) > 0 {
			if err := tx.Select(ctx, &done, publish, jsonText(v.leases), jsonText(v.seqs), jsonText(v.ids)); err != nil {
				return err
			}
		}
		if len(v.failures) > 0 {
			return tx.Select(ctx, &marked, "mark_failed", jsonText(v.leases), jsonText(v.failures))
		}
		return nil
	})
	return append(done, marked...), err
}

// failure turns a refusal into what is stored of it.
func (l *lane) failure(row *outgoing) failure {
	f := failure{Seq: row.Seq, ID: row.ID, Status: Pending, Error: errorText(row.err)}
	attempts := row.attempts + 1
	if most := l.relay.cfg.MaxAttempts; most > 0 && attempts >= most {
		row.verdict = dead
	}
	if row.verdict == dead {
		f.Status = Dead
		return f
	}
	f.Delay = max(0, l.relay.cfg.backoff(attempts, row.err)).Microseconds()
	return f
}

// store marks the rows whose verdict is in the database.
func (b *batch) store(stored []int64) {
	isStored := make(map[int64]bool, len(stored))
	for _, seq := range stored {
		isStored[seq] = true
	}
	for _, row := range b.rows {
		row.stored = isStored[row.Seq]
	}
}

// errUnstored, for strangers: the database takes verdicts and does not keep them.
const errUnstored = health.Public("verdicts are not stored")

// judgeUnstored returns an error when the database keeps refusing verdicts although
// the leases hold: what is published then is published again and again.
func (l *lane) judgeUnstored(b *batch) error {
	refused := 0
	for _, row := range b.rows {
		switch {
		case row.stored:
			l.unstored = 0
			return nil
		case row.verdict != none && l.relay.keeper.valid(b.asked[row.bucket].lease):
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
func (b *batch) unknown(work context.Context) (n int64) {
	if work.Err() == nil {
		return 0
	}
	for _, row := range b.rows {
		if row.handed && row.verdict == none {
			n++
		}
	}
	return n
}

func (b *batch) settlement(countFenced bool) (s settlement) {
	for _, row := range b.rows {
		switch {
		case row.verdict == none:
		case !row.stored:
			if countFenced {
				s.fenced++
			}
		case row.verdict == published:
			s.published++
		case row.verdict == failed:
			s.failed++
			s.failedExample = row
		default:
			s.dead++
			s.deadExample = row
		}
	}
	return s
}

// advance moves the cursors past what is dealt with and old enough, and back
// to where a key has become free. It reports whether any moved back.
func (l *lane) advance(b *batch) (rewound bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	limits := make(map[int]int64) // by bucket: the cursor stays below
	last := make(map[int]int64)   // by bucket: passed so far
	for _, row := range b.rows {
		done := row.stored || row.behind || row.aside
		if done && !row.known {
			b.passed++
		}
		if row.Seq <= b.asked[row.bucket].from || limits[row.bucket] != 0 {
			continue
		}
		if done && row.old {
			last[row.bucket] = row.Seq
		} else {
			limits[row.bucket] = row.Seq
		}
	}
	for n, asked := range b.asked {
		own := l.buckets[n]
		if own == nil || own.Token != asked.Token {
			continue
		}
		to := last[n]
		switch limit := limits[n]; {
		case limit != 0:
			to = max(to, min(b.view.settledTop, limit-1))
		case asked.end:
			to = max(to, b.view.settledTop)
		}
		own.advance(to, b.view)
	}
	for _, row := range b.rows {
		// Later rows of the key may have been passed while this one held them back.
		own := l.buckets[row.bucket]
		if row.attempts > 0 && row.Key != "" && row.stored && row.verdict == published && own != nil {
			own.rewind(row.Seq)
			rewound = true
		}
	}
	return rewound
}

// maxErrorText bounds what is stored of an error, in bytes.
const maxErrorText = 1000

// errorText is err as a column can hold it.
func errorText(err error) string {
	return clip.Text(err.Error(), maxErrorText, "…")
}
