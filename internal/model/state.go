package model

import (
	"math/bits"

	"github.com/asimalizada/pulse-events/internal/cursor"
)

// Limits of a state. It has no pointers, so that it is copied by assignment, compared
// and hashed as a whole: no field can be forgotten.
const (
	maxTransactions = 6
	maxMessages     = 8
	maxBuckets      = 2
	maxRelays       = 2
	maxConsumers    = 2
	maxOrphans      = 4 // messages on connections that were cut; more are lost
	maxWire         = maxRelays*maxMessages + maxOrphans
	maxQueue        = 20
)

// Config is a world to explore.
type Config struct {
	Name         string
	Transactions []Transaction
	Buckets      int
	Relays       int
	Consumers    int    // 0: the queue only takes messages
	Queue        []Copy // what lies in it at the beginning, published by others
	BatchSize    int    // of a relay's reads; 0: no limit
	Fresh        bool   // a read also takes the newest row of a bucket, ahead of the page
	KeyWindow    int    // messages of a key that are sent at once; 0: one
	MaxAttempts  int    // of the relay; 0: no limit
	Attempts     int    // of the consumer, before a message is a dead letter; 0: 2
	FineTime     bool   // a tick is a third of grace; else longer than grace
	SlowReads    bool   // time may pass while a read is under way
	OwnNumbers   bool   // write-backs take numbers of transactions, too
	// Most bounds how often a step is taken. Faults that it does not name do not happen;
	// other steps are not bounded.
	Most  map[Kind]int
	Rules Rules
}

// Transaction is one of a producer's. It locks the aggregate that its key stands for
// before it inserts.
type Transaction struct {
	Key      int // 0: none
	Bucket   int
	Messages int  // 0: one
	Slow     bool // takes its number first and inserts later, as with a trigger
}

// Rules are rules of the product that are switched off.
type Rules struct {
	NoFence            bool // verdicts are stored whoever has the lease
	FenceWithoutLock   bool // the lease is looked at, and may be taken before the commit
	NoWaves            bool // messages of a key are sent without waiting for verdicts
	NoStops            bool // after a refusal later messages of the key are sent all the same
	NoSweep            bool // nobody looks behind the cursors
	NoGrace            bool // cursors pass young rows as well
	NoWayBack          bool // cursors stay when a long transaction has ended
	NoRewind           bool // cursors stay when a message that had failed is published
	NoInterventions    bool // cursors stay when somebody retries or discards by hand
	ReturnIsConfirm    bool // a returned message counts as published
	OutageIsRefusal    bool // a lost confirm counts an attempt
	AttemptsCountTwice bool // a write-back that is repeated counts attempts again
	FreshUnchecked     bool // the newest row is taken whatever is pending of its key
	FreshAfterRead     bool // it is looked for after the snapshot by which cursors are judged
	FreshMovesCursor   bool // cursors pass it, and what lies before it
	RewindIfToldOnly   bool // cursors go back only if the first answer to the write-back arrives

	NoClaim           bool // the effect is made without a look at processed_events
	ClaimApart        bool // the claim is committed before the effect
	AckBeforeCommit   bool
	NoIdentity        bool // the payload is not compared
	AckBeforeRepeat   bool // a retry is acknowledged before the broker has confirmed the copy
	LockedIsDuplicate bool // a copy that is being applied elsewhere is taken for applied
}

// Copy is a message in a queue or with a consumer.
type Copy struct {
	Seq   int8
	Body  int8 // 1: the event's; 2: another, under the same id
	Tries int8 // failures before
}

// set is a set of seqs.
type set uint16

func (s set) has(seq int8) bool { return s&(1<<seq) != 0 }
func (s *set) add(seq int8)     { *s |= 1 << seq }
func (s *set) remove(seq int8)  { *s &^= 1 << seq }

// next returns the lowest seq above after; 0: there is none.
func (s set) next(after int8) int8 {
	if rest := s &^ (1<<(after+1) - 1); rest != 0 {
		return int8(bits.TrailingZeros16(uint16(rest)))
	}
	return 0
}

// State is everything at one moment.
type State struct {
	now    int8 // ticks
	given  int8 // the last seq
	nextID int8 // of the next transaction that writes
	ended  int8 // the highest that has ended
	tokens int8 // of leases, given out

	transactions [maxTransactions]transaction
	rows         [maxMessages + 1]row // by seq
	leases       [maxBuckets]lease
	relays       [maxRelays]relay
	wire         [maxWire]onWire
	wires        int8
	queue        [maxQueue]Copy // the first is delivered next
	queued       int8
	consumers    [maxConsumers]consumer
	claimed      [maxMessages + 1]int8 // processed_events: the body; 0: none
	deadLetters  [3]set                // by body

	// What nobody in the model can see; the checks do.
	accepted set                   // by the queue, at least once
	effects  [maxMessages + 1]int8 // committed
	effectOf [maxMessages + 1]int8 // the body
	refusals [maxMessages + 1]int8 // by the broker
	arrived  [3]set                // in the queue, by body

	left [kinds]int8 // how often a step may be taken; -1: without limit
}

type stage int8

const (
	unbegun  stage = iota
	numbered       // has taken its seqs, and not inserted
	inserted
	committed
	rolledBack
)

type transaction struct {
	stage stage
	id    int8 // 0: it has not written
	first int8 // seq
}

type status int8

const (
	absent status = iota
	pending
	published
	dead
	discarded
)

type row struct {
	status   status // of the last commit; absent: not committed
	key      int8
	bucket   int8
	attempts int8
	due      int8 // tick
	retried  bool // by hand: it is due, although it has not failed
	created  int8 // tick
}

type lease struct {
	token         int8
	free          bool
	interventions int8
}

type phase int8

const (
	idle     phase = iota
	asked          // a read is on its way to the database
	answered       // and its answer on the way back
	sending        // a wave is to be sent
	waiting        // for verdicts
	storing        // the write-back is to be begun
	stored         // it holds its locks and is to be committed
)

type relay struct {
	up      bool
	own     [maxBuckets]ownLease // the lease manager's
	buckets [maxBuckets]bucket   // the lane's
	strays  set
	taken   set   // strays that a read is asking for
	fresh   set   // that a read has found ahead
	horizon int32 // see horizons
	phase   phase
	asks    [maxBuckets]ask
	asked   int8 // tick
	page    page
}

type ownLease struct {
	token int8 // 0: not ours
	valid bool // by this process's clock
}

type bucket struct {
	token         int8 // 0: not the lane's
	position      cursor.Position
	interventions int8
	floor         int8 // of the sweep
}

// ask is where a read begins; see outbox/relay_lane_read.go.
type ask struct {
	token         int8 // 0: the bucket is not read
	cursor        int8
	interventions int8
}

// page is what a read has found, and what has become of it.
type page struct {
	snapshot int32            // see horizons
	held     [maxBuckets]int8 // interventions, from 1 on; 0: the lease is another's
	spans    [maxBuckets]span
	rows     set
	fresh    set // those of rows that were found ahead
	old      set
	attempts [maxMessages + 1]int8
	view     cursor.View

	wave    int8
	stopped uint8 // keys of which nothing more is sent
	blocked uint8 // those of them that a stored failure holds back

	published, failed, dead, behind set
	locked                          uint8 // buckets whose leases the write-back has locked
	retried                         bool  // the write-back was tried before
}

type span struct {
	token int8 // 0: not read
	from  int8
	end   bool
}

// verdicts returns the rows of which there is something to store.
func (p *page) verdicts() set { return p.published | p.failed | p.dead }

type answer int8

const (
	unanswered answer = iota
	ack
	nack
	returned
)

// onWire is a message on the way to the broker, or its answer on the way back.
type onWire struct {
	relay  int8 // -1: nobody waits for the answer
	seq    int8
	answer answer
}

type consumerPhase int8

const (
	waitingForWork consumerPhase = iota
	delivered
	fresh      // claimed; the transaction is open
	duplicate  // applied before
	toRepeat   // to be published once more, as a retry
	toPostpone // the same, without counting an attempt
	toBury     // to be published as a dead letter
	toAck      // what is to be done is done
)

type consumer struct {
	up    bool
	stale bool // the connection that it came over is gone
	phase consumerPhase
	copy  Copy
}
