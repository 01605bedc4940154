package outbox

import (
	"context"
	"slices"
	"time"
)

// maxTrials is how many topics are tried in one call.
const maxTrials = 100

// trial is a suspended topic that is to be tried, and messages of it.
type trial struct {
	topic string
	seqs  []int64
}

// probe is a call of Publish that tries messages of topics that are suspended.
// It runs beside the lane's turns, which do not wait for it.
type probe struct {
	trials []trial
	page   page // the messages
	cancel context.CancelFunc
	done   chan struct{} // closed when outcomes, and what follows, are there

	outcomes []outcome
	away     bool // the broker, as its publisher says
}

// uses reports whether messages under a lease are being tried.
func (p *probe) uses(l lease) bool {
	return p != nil && p.page.spans[l.Bucket].lease == l
}

// tries reports whether a message is being tried.
func (p *probe) tries(seq int64) bool {
	return p != nil && slices.ContainsFunc(p.page.rows, func(row *outgoing) bool { return row.Seq == seq })
}

// takeBack returns the cursors to the first waiting message of each topic that is no
// longer suspended.
func (l *lane) takeBack(silent map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.buckets {
		if b.held == nil {
			continue
		}
		for topic := range b.held.topics {
			if !silent[topic] {
				b.position = b.position.Rewind(b.held.free(topic) + 1)
			}
		}
		if len(b.held.topics) == 0 {
			b.held = nil
		}
	}
}

// beginTrials returns the topics to try now, of those that wait in this lane and are
// not paused, unless the lane is trying some already.
func (l *lane) beginTrials(suspended map[string]bool, stopped paused) (trials []trial) {
	if len(suspended) == 0 || l.probe != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.buckets {
		if b.held == nil || b.leaving {
			continue
		}
		for topic, t := range b.held.topics {
			if len(trials) < l.trials && len(t.probes) > 0 && !stopped.stops(topic) && l.relay.suspended.beginTrial(topic) {
				trials = append(trials, trial{topic, slices.Clone(t.probes)})
			}
		}
	}
	return trials
}

func (l *lane) endTrials(trials []trial) {
	for _, t := range trials {
		l.relay.suspended.endTrial(t.topic)
	}
}

// fate is what is to become of a row.
type fate int

const (
	toSend    fate = iota
	unnoted        // waits, and there is no room to note that: the cursor stays before it
	waiting        // waits for its topic, or behind a row that does; the cursor may pass it
	waitingOn      // so, and it was noted in an earlier turn
	tried          // a probe has it
)

// plan is a page with the fate of each row.
type plan struct {
	page
	fates []fate
}

// plan decides on the rows of a page, and begins a probe with those to try.
func (l *lane) plan(taking context.Context, p page, silent map[string]bool, trials []trial) plan {
	fates := l.hold(p, silent)
	for i, row := range p.rows {
		// Its topic is read as any other as soon as another lane has got a verdict on
		// it, and the row is pending until the probe's verdict is stored.
		if l.probe.tries(row.Seq) && fates[i] == toSend {
			fates[i] = unnoted
		}
	}
	return plan{p, l.startProbe(taking, p, fates, trials)}
}

// hold notes which rows wait for their topic, or behind a row that does.
func (l *lane) hold(p page, silent map[string]bool) []fate {
	fates := make([]fate, len(p.rows))
	if len(silent) == 0 {
		return fates
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, row := range p.rows { // in the order of seq
		waits := silent[row.Topic]
		if waits {
			fates[i] = unnoted
		}
		own := l.buckets[row.bucket]
		if own == nil || own.Token != p.spans[row.bucket].Token {
			continue
		}
		fresh, noted := false, false
		if row.fresh { // it is noted when it is read in order
			if own.held.holds(&row.Message) {
				fates[i] = unnoted
			}
			continue
		}
		if head := own.held.behind(&row.Message); head != nil {
			fresh, noted = head.note(row.Seq), true
		} else if waits {
			if own.held == nil {
				own.held = newHeld()
			}
			fresh, noted = own.held.add(&row.Message)
		}
		switch {
		case noted && fresh:
			fates[i] = waiting
		case noted:
			fates[i] = waitingOn
		}
	}
	return fates
}

// startProbe tries rows of a page, and returns the fates with theirs. It ends with
// taking: what is tried then is tried again by whoever comes next.
func (l *lane) startProbe(taking context.Context, pg page, fates []fate, trials []trial) []fate {
	if len(trials) == 0 {
		return fates
	}
	p := &probe{page: page{spans: pg.spans}, done: make(chan struct{})}
	planned := slices.Clone(fates)
	for _, t := range trials {
		found := false
		for i, row := range pg.rows {
			if row.Topic == t.topic && slices.Contains(t.seqs, row.Seq) && l.mayTry(plan{pg, planned}, row) {
				p.page.rows, found = append(p.page.rows, row), true
				planned[i] = tried
			}
		}
		if found {
			p.trials = append(p.trials, t)
		} else { // held back, done with or gone
			l.forgetProbes(t)
			l.relay.suspended.endTrial(t.topic)
		}
	}
	if len(p.page.rows) == 0 {
		return planned
	}
	ctx, cancel := context.WithCancel(taking)
	p.cancel = cancel
	l.probe = p
	go func() {
		defer l.wake()
		defer close(p.done)
		outcomes, unavailable := l.hand(ctx, p.page.rows)
		if p.outcomes = outcomes; unavailable != nil && ctx.Err() == nil {
			p.away = l.relay.ping(ctx) != nil
		}
	}()
	return planned
}

// mayTry reports whether no earlier row of its key has to go before a row that waits
// for its topic.
func (l *lane) mayTry(p plan, row *outgoing) bool {
	if row.bad != nil || !l.relay.leases.valid(p.spans[row.bucket].lease) {
		return false
	}
	l.mu.Lock()
	own := l.buckets[row.bucket]
	free := own != nil && own.held.behind(&row.Message) == nil
	l.mu.Unlock()
	if !free || row.Key == "" {
		return free
	}
	// One that has appeared late, and does not wait, goes first.
	return !slices.ContainsFunc(p.rows, func(other *outgoing) bool { return other.Key == row.Key && other.Seq < row.Seq })
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

// endProbe stores the outcomes of a probe that has returned, and resumes the topics
// that have got a verdict.
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
	p.cancel() // releases its context
	if slices.ContainsFunc(p.outcomes, func(o outcome) bool { return o.verdict == none }) {
		l.unheard = time.Now()
	}
	if _, err := l.store(work, sent{plan: plan{p.page, make([]fate, len(p.page.rows))}, outcomes: p.outcomes}); err != nil {
		return err
	}
	l.probe = nil
	known := false
	for i, row := range p.page.rows {
		if p.outcomes[i].verdict != none {
			known = true
			l.noteVerdict(row)
		}
	}
	switch {
	case known:
		l.relay.outage.answered()
		l.trials = min(4*l.trials, maxTrials)
	case p.away:
		l.relay.monitor.trouble(work, partBroker, p.outcomes[0].err)
		l.relay.outage.begin()
	default:
		l.trials = max(l.trials/4, 1) // one topic may prevent verdicts on others
	}
	for _, topic := range unheardTopics(p.page.rows, p.outcomes) {
		l.relay.suspend(work, topic, errorOf(p.page.rows, p.outcomes, topic))
	}
	for _, t := range p.trials {
		l.relay.suspended.endTrial(t.topic)
		l.endTrial(work, t, p)
	}
	return nil
}

// endTrial resumes a topic that has got a verdict.
func (l *lane) endTrial(work context.Context, t trial, p *probe) {
	heard := false
	for i, row := range p.page.rows {
		heard = heard || row.Topic == t.topic && p.outcomes[i].verdict != none
	}
	if !heard {
		return
	}
	for i, row := range p.page.rows {
		if row.Topic == t.topic && p.outcomes[i].verdict == none {
			l.suspect(row)
		}
	}
	l.relay.resume(work, t.topic)
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
