package outbox

import (
	"context"
	"slices"
)

// maxTrials is how many topics are tried in one call.
const maxTrials = 100

// trial is a topic that it is time to try, and messages of it to do so with.
type trial struct {
	topic string
	seqs  []int64
}

// probe is a call of Publish that tries messages of topics that are set aside.
// It runs beside the lane's turns, which do not wait for it.
type probe struct {
	trials []trial
	batch  *batch // the messages
	cancel context.CancelFunc
	done   chan struct{} // closed when verdicts, and what follows, are there

	away bool // the broker, as its publisher says
}

// uses reports whether messages under a lease are being tried.
func (p *probe) uses(l lease) bool {
	return p != nil && p.batch.asked[l.Bucket].lease == l
}

// takeBack returns the cursors to where topics began to wait that are not
// silent any more.
func (l *lane) takeBack(silent map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.buckets {
		if b.held == nil {
			continue
		}
		for topic := range b.held.topics {
			if !silent[topic] {
				b.cursor = min(b.cursor, b.held.free(topic))
			}
		}
		if len(b.held.topics) == 0 {
			b.held = nil
		}
	}
}

// claim returns the topics that it is time to try, of those that wait in this
// lane, unless the lane is trying some.
func (l *lane) claim(silent map[string]bool) (trials []trial) {
	if len(silent) == 0 || l.probe != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.buckets {
		if b.held == nil || b.leaving {
			continue
		}
		for topic, t := range b.held.topics {
			if len(trials) < l.trials && len(t.probes) > 0 && l.relay.suspended.claim(topic) {
				trials = append(trials, trial{topic, slices.Clone(t.probes)})
			}
		}
	}
	return trials
}

func (l *lane) unclaim(trials []trial) {
	for _, t := range trials {
		l.relay.suspended.unclaim(t.topic)
	}
}

// setAside notes which rows wait for their topic, or behind a row that does.
func (l *lane) setAside(b *batch, silent map[string]bool) {
	if len(silent) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, row := range b.rows { // in the order of seq
		row.waits = silent[row.Topic]
		own := l.buckets[row.bucket]
		if own == nil || own.Token != b.asked[row.bucket].Token {
			continue
		}
		if head := own.held.behind(&row.Message); head != nil {
			row.waits, row.aside, row.known = true, true, !head.note(row.Seq)
		} else if row.waits {
			if own.held == nil {
				own.held = newHeld()
			}
			var fresh bool
			fresh, row.aside = own.held.add(&row.Message)
			row.known = !fresh
		}
	}
}

// holdTried keeps back what the probe is sending. Its topic is read as any other
// as soon as another lane has got a verdict on it, and its rows are pending until
// the probe's verdicts are stored.
func (l *lane) holdTried(b *batch) {
	if l.probe == nil {
		return
	}
	for _, row := range b.rows {
		if slices.ContainsFunc(l.probe.batch.rows, func(tried *outgoing) bool { return tried.Seq == row.Seq }) {
			row.waits = true
		}
	}
}

// startProbe takes the rows to try out of b and tries them. It ends with
// taking: what is tried then is tried again by whoever comes next.
func (l *lane) startProbe(taking context.Context, b *batch, trials []trial) {
	if len(trials) == 0 {
		return
	}
	p := &probe{batch: &batch{asked: b.asked}, done: make(chan struct{})}
	for _, t := range trials {
		found := false
		for _, row := range b.rows {
			if row.Topic == t.topic && slices.Contains(t.seqs, row.Seq) && l.mayTry(b, row) {
				p.batch.rows, found = append(p.batch.rows, row), true
			}
		}
		if found {
			p.trials = append(p.trials, t)
		} else { // held back, settled or gone
			l.forgetProbes(t)
			l.relay.suspended.unclaim(t.topic)
		}
	}
	if len(p.batch.rows) == 0 {
		return
	}
	b.rows = slices.DeleteFunc(b.rows, func(row *outgoing) bool { return slices.Contains(p.batch.rows, row) })
	ctx, cancel := context.WithCancel(taking)
	p.cancel = cancel
	l.probe = p
	go func() {
		defer l.wake()
		defer close(p.done)
		if l.hand(ctx, p.batch.rows) != nil && ctx.Err() == nil {
			p.away = l.relay.ping(ctx) != nil
		}
	}()
}

// mayTry reports whether nothing stands before a row that waits for its topic.
func (l *lane) mayTry(b *batch, row *outgoing) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.buckets[row.bucket]
	if row.err != nil || own == nil || own.held.behind(&row.Message) != nil || !l.relay.keeper.valid(b.asked[row.bucket].lease) {
		return false
	}
	// One that has appeared late, and does not wait, goes first.
	return row.Key == "" || !slices.ContainsFunc(b.rows, func(other *outgoing) bool { return other.Key == row.Key && other.Seq < row.Seq })
}

// forgetProbes drops messages that cannot be tried.
func (l *lane) forgetProbes(t trial) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.buckets {
		if b.held != nil && b.held.topics[t.topic] != nil {
			own := b.held.topics[t.topic]
			own.probes = slices.DeleteFunc(own.probes, func(seq int64) bool { return slices.Contains(t.seqs, seq) })
		}
	}
}

// endProbe stores the verdicts of a probe that has come back, and takes back the
// topics that have got any.
func (l *lane) endProbe(work context.Context) error {
	p := l.probe
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
	default:
		return nil
	}
	p.cancel() // of its context nothing is left
	if err := l.settle(work, p.batch); err != nil {
		return err
	}
	l.probe = nil
	known := false
	for _, row := range p.batch.rows {
		if row.verdict != none {
			known = true
			l.noteVerdict(row)
		}
	}
	switch {
	case known:
		l.relay.outage.answered()
		l.trials = min(4*l.trials, maxTrials)
	case p.away:
		l.relay.monitor.trouble(work, partBroker, p.batch.rows[0].err)
		l.relay.outage.begin()
	default:
		l.trials = max(l.trials/4, 1) // one may take the verdicts of others along
	}
	for _, topic := range unheardTopics(p.batch.rows) {
		l.relay.suspend(work, topic, errorOf(p.batch.rows, topic))
	}
	for _, t := range p.trials {
		l.relay.suspended.unclaim(t.topic)
		heard := slices.ContainsFunc(p.batch.rows, func(row *outgoing) bool { return row.Topic == t.topic && row.verdict != none })
		if !heard {
			continue
		}
		for _, row := range p.batch.rows {
			if row.Topic == t.topic && row.verdict == none {
				l.suspect(row)
			}
		}
		l.relay.resume(work, t.topic)
	}
	return nil
}

// cancelProbe ends a probe and stores what verdicts it has.
func (l *lane) cancelProbe(work context.Context) {
	if l.probe == nil {
		return
	}
	l.probe.cancel()
	<-l.probe.done
	_ = l.endProbe(work) // what is not stored is published again
	l.probe = nil
}

// countWaiting adds to counts, by topic, how many messages wait for topics.
func (l *lane) countWaiting(counts map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.buckets {
		if b.held == nil {
			continue
		}
		for topic, t := range b.held.topics {
			counts[topic] += t.count
		}
	}
}
