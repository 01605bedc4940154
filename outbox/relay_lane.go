package outbox

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asimalizada/pulse-events/internal/cursor"
)

// lane publishes the messages of its buckets, batch by batch. A turn is a chain
// of steps, each of which takes a value and returns the next:
//
//	read     → page     rows, and how far each bucket was read
//	plan     → plan     which of them are sent, wait or are tried by a probe
//	publish  → sent     the outcome of each: the broker's verdict, if there is one
//	store    → stored   which outcomes are in the database
//	advance  → progress the cursors have moved
//
// One goroutine runs it; others hand it buckets and strays.
type lane struct {
	relay    *Relay
	name     string
	inFlight atomic.Int64 // messages handed to the publisher whose verdicts are not stored

	// signal says that something has changed: look again.
	signal chan struct{}

	mu         sync.Mutex
	running    bool
	buckets    map[int]*bucket
	strays     map[int64]struct{} // seqs behind a cursor that should be looked at
	publishing publishCall        // under way

	// The rest belongs to the lane's goroutine.
	epoch      epoch // of the last read
	generation int   // to which the positions belong
	horizon    cursor.Horizon
	first      int  // the bucket that is read first next time, so that each has its turn
	backlog    bool // the last read has left rows behind
	look       freshLook
	unheard    time.Time // when a message last ended without a verdict
	window     int       // messages handed to one Publish; less than a batch after an outage
	suspects   map[int64]suspect
	failedAt   map[string]time.Time // when a topic last failed in an outage, by topic
	probe      *probe               // nil: none is under way
	trials     int                  // topics tried in one probe; less after one that ended unavailable
	unstored   int                  // batches in a row of which no outcome was stored, although the leases hold
}

// publishCall is a call of Publish.
type publishCall struct {
	end   context.CancelCauseFunc // nil: there is none
	began time.Time
}

// bucket is a lease that a lane has, and how far it has read there.
type bucket struct {
	lease
	position cursor.Position
	held     *held // what was passed over; nil: nothing
	leaving  bool  // wanted back
	// interventions as of the last read; another number makes the next read
	// start over.
	interventions int64
}

// breath is the minimum time between a read that did not fill its page and the next,
// so that many calls of Wake cause few reads.
const breath = 5 * time.Millisecond

func newLane(r *Relay, name string) *lane {
	return &lane{
		relay: r, name: name, signal: make(chan struct{}, 1),
		buckets: make(map[int]*bucket), strays: make(map[int64]struct{}),
		horizon: cursor.NewHorizon(r.cfg.Grace), window: r.cfg.BatchSize, look: freshLook{buckets: 1},
		suspects: make(map[int64]suspect), failedAt: make(map[string]time.Time), trials: maxTrials,
	}
}

// run publishes until taking ends. It finishes the turn that it has begun by then
// in work, which ends later.
func (l *lane) run(taking, work context.Context) {
	defer l.setRunning(false)
	defer func() { l.cancelProbe(work) }()
	idle, failures := time.Duration(0), 0
	for taking.Err() == nil {
		l.returnLeaving()
		if !l.relay.outage.wait(taking, l.signal) {
			continue
		}
		began := time.Now()
		done, err := l.turn(taking, work)
		if work.Err() != nil {
			return
		}
		l.relay.monitor.trouble(work, l.name, err)
		switch {
		case err != nil:
			failures++
			l.pause(taking, retryPause(failures))
			continue
		case done.again:
			idle = 0
		case done.rows > 0:
			idle = l.relay.cfg.PollInterval
		default:
			idle = min(max(2*idle, l.relay.cfg.PollInterval), l.relay.cfg.MaxPollInterval)
		}
		failures = 0
		if idle == 0 {
			continue
		}
		l.relay.noteIdle()
		if l.pause(taking, idle) {
			idle = 0
			sleep(taking, breath-time.Since(began))
		}
	}
}

// pause waits for d, a signal (true) or the end of ctx.
func (l *lane) pause(ctx context.Context, d time.Duration) (signalled bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.signal:
		return true
	case <-ctx.Done():
	}
	return false
}

func (l *lane) wake() {
	select {
	case l.signal <- struct{}{}:
	default: // one is pending
	}
}

// progress is the result of one turn.
type progress struct {
	rows  int  // how many were read
	again bool // there is, or may be, more to do at once
}

// turn is one round of the lane.
func (l *lane) turn(taking, work context.Context) (progress, error) {
	if err := l.endProbe(work); err != nil {
		return progress{}, err
	}
	l.startOver()
	before := l.relay.pauses.now()
	if before.all {
		return progress{}, nil // the look at the leases tells when it is over
	}
	suspended := l.relay.silentTopics(work)
	silent := before.with(suspended)
	l.takeBack(silent)
	trials := l.beginTrials(suspended, before)
	page, err := l.read(work, silent, trials)
	if err != nil || page.spans == nil || page.stale || page.paused.all {
		l.endTrials(trials)
		return progress{again: page.stale}, err
	}
	// Rows of what was paused before the read came without payload.
	silent, trials = page.paused.with(silent), l.dropTrials(trials, page.paused)
	plan := l.plan(taking, page, silent, trials)
	sent := l.publish(taking, work, plan)
	stored, err := l.store(work, sent)
	if err != nil {
		return progress{}, err
	}
	l.inFlight.Store(stored.unknown(work))
	if err := l.checkStored(stored); err != nil {
		return progress{}, err
	}
	return l.advance(stored), nil
}

// startOver resets all positions when the relay has found that they belong to
// another database.
func (l *lane) startOver() {
	now := l.relay.generations.now()
	if now == l.generation {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.generation, l.epoch = now, epoch{}
	l.horizon = cursor.NewHorizon(l.relay.cfg.Grace)
	clear(l.suspects)
	clear(l.strays)
	for _, b := range l.buckets {
		b.position, b.held, b.interventions = cursor.Position{}, nil, -1
	}
}

// add gives the lane a bucket.
func (l *lane) add(given lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buckets[given.Bucket] = &bucket{lease: given, interventions: -1}
	l.wake()
}

// drop removes a bucket whose lease was lost. The fence refuses what is in flight for
// it.
func (l *lane) drop(lost lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.buckets[lost.Bucket]; b != nil && b.Token == lost.Token {
		delete(l.buckets, lost.Bucket)
	}
}

// release asks the lane to return a bucket when nothing is in flight for it.
func (l *lane) release(wanted lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.buckets[wanted.Bucket]; b != nil && b.Token == wanted.Token {
		b.leaving = true
	}
	l.wake()
}

func (l *lane) isLeaving(asked lease) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[asked.Bucket]
	return b == nil || b.leaving
}

// returnLeaving returns the buckets that were asked for. The lane has nothing in
// flight.
func (l *lane) returnLeaving() {
	l.mu.Lock()
	var leaving []lease
	for n, b := range l.buckets {
		if b.leaving && l.probe.uses(b.lease) {
			l.probe.cancel() // and then it goes
		} else if b.leaving {
			leaving = append(leaving, b.lease)
			delete(l.buckets, n)
		}
	}
	l.mu.Unlock()
	if len(leaving) > 0 {
		l.relay.leases.returned <- leaving // holds every lease there is
	}
}

// surrender removes all buckets and returns their leases, unless the lane still runs:
// then the leases have to run out.
func (l *lane) surrender() (leases []lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running {
		for _, b := range l.buckets {
			leases = append(leases, b.lease)
		}
	}
	clear(l.buckets)
	clear(l.strays)
	return leases
}

func (l *lane) setRunning(running bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = running
}

func (l *lane) isRunning() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running
}

// stray is a row behind a cursor that should be looked at.
type stray struct {
	Bucket int    `db:"bucket"`
	Seq    int64  `db:"seq"`
	Topic  string `db:"topic"`
	Key    string `db:"key"`
}

// offer adds a row to those that the lane reads in its next turn, unless its topic is
// suspended. full reports that there is no room.
func (l *lane) offer(row stray) (taken, full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[row.Bucket]
	switch {
	case b == nil || b.held.holds(&Message{Seq: row.Seq, Topic: row.Topic, Key: row.Key}):
		return false, false
	case len(l.strays) >= l.relay.cfg.BatchSize:
		return false, true
	}
	l.strays[row.Seq] = struct{}{}
	l.wake()
	return true, false
}

// takeStrays returns the rows that were offered. Those that are not published this
// time will be offered again.
func (l *lane) takeStrays() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.strays) == 0 {
		return nil
	}
	strays := slices.Sorted(maps.Keys(l.strays))
	clear(l.strays)
	return strays
}

// reaches returns how far the lane has read each of its buckets. Rows of suspended
// topics do not count as safe.
func (l *lane) reaches() []bucket {
	l.mu.Lock()
	defer l.mu.Unlock()
	reaches := make([]bucket, 0, len(l.buckets))
	for _, b := range l.buckets {
		seen := *b
		if first := b.held.from(); first > 0 {
			seen.position.Safe = min(seen.position.Safe, first-1)
		}
		seen.held = nil // the lane's
		reaches = append(reaches, seen)
	}
	return reaches
}
