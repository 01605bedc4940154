// Package journey finds one message wherever it is: in the outbox, in the
// queues of a consumer, in the inbox, with the messages that caused it and that
// it caused. It says in one sentence why a message goes no further, and the
// command that frees it.
package journey

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

// Sources are where to look. What is nil is not looked at; the error beside it
// says why, nil: it was not given.
type Sources struct {
	Outbox    *outbox.Outbox
	OutboxErr error
	// Next is the outbox of the service that consumes, which has what its handlers
	// have caused: often in the inbox's database. Nil: none is known.
	Next      *outbox.Outbox
	Inbox     *inbox.Inbox
	InboxErr  error
	Queues    *queues.Reader
	QueuesErr error
	// BrokerUp is the command that starts the broker, if it is known.
	BrokerUp string
}

// Options bound the search; the zero value means the defaults.
type Options struct {
	Look QueueLook
	// LookLimit is how many messages a queue may hold to be looked into. Defaults
	// to DefaultLookLimit.
	LookLimit int
	// Search bounds the time for finding messages in the databases by something
	// else than their id, for which there is no index. Defaults to DefaultSearch.
	Search time.Duration
	// Limit is how many messages are followed. Defaults to DefaultLimit.
	Limit int
}

// The defaults of Options.
const (
	DefaultLookLimit = 10_000
	DefaultSearch    = 5 * time.Second
	DefaultLimit     = 50
)

// QueueLook says whether to look into queues, which takes messages and puts them
// back.
type QueueLook string

// The values of QueueLook.
const (
	LookAuto   QueueLook = ""       // where the databases do not tell where a message is
	LookAlways QueueLook = "always" // also into the consumed queue, if nobody consumes it
	LookNever  QueueLook = "never"
)

// Kind says what a word was found to be.
type Kind string

// The kinds.
const (
	KindEvent       Kind = "event"
	KindKey         Kind = "key"
	KindCorrelation Kind = "correlation"
)

// Journey is what was found.
type Journey struct {
	Asked    string
	Kind     Kind
	Consumer string    // whose inbox was looked at; empty: none
	At       time.Time // of the look
	// Messages are in the order of a tree: what was caused follows its cause, one
	// level deeper.
	Messages []Message
	More     bool // there are more messages than Options.Limit
	Queues   []QueueState
	// Unseen says what could not be looked at, and why.
	Unseen []string
	// Notes say what looking has cost, and where it ended.
	Notes []string
	// Incomplete: a server that was given did not answer, and the state of a message
	// depends on it.
	Incomplete error

	away []error
}

// Away returns why sources that were given could not be looked at; nil: all
// could.
func (j *Journey) Away() error { return errors.Join(j.away...) }

// Message is one message with all that is known of it.
type Message struct {
	ID            string
	Topic, Type   string
	Key           string
	CorrelationID string
	CausationID   string
	Depth         int    // in the tree
	Asked         bool   // it is what was asked for, not only related to it
	Outbox        *Row   // nil: no outbox that was looked at has it
	Copies        []Copy // in the queues that were looked into
	Inbox         []Application
	Verdict       Verdict

	applied map[string]bool // consumers
}

// Row is the message's row in an outbox.
type Row struct {
	Next        bool // in the outbox of the service that consumes
	Seq         int64
	Status      outbox.Status
	Attempts    int
	LastError   string
	OccurredAt  time.Time
	CreatedAt   time.Time
	AvailableAt time.Time
	PublishedAt time.Time
	DiscardedAt time.Time
	Bucket      int
	Relay       string        // that holds the lease of its bucket; empty: none
	Paused      *outbox.Pause // what stops its topic, or everything; nil: nothing
	Ahead       *Blocker      // the failed message of its key that holds it back
	// Before counts pending messages that were enqueued before it; BeforeMore: there
	// are more. Only of a message that is due.
	Before     int
	BeforeMore bool
	Bytes      int // of the payload
	hash       [32]byte
	inflated   [32]byte // of the decompressed payload; zero: it is not compressed
}

// Blocker is the message in front of another.
type Blocker struct {
	ID        string
	Status    outbox.Status
	Attempts  int
	LastError string
}

// Copy is a message in a queue.
type Copy struct {
	Queue    string
	Place    Place
	Position int       // in the queue, from 1
	DueAt    time.Time // when it leaves a retry queue; zero: unknown
	Attempts int
	Reason   string
	Error    string
	FailedAt time.Time
	Consumer string // that has failed; empty: unknown
}

// Place is a kind of queue.
type Place string

// The places.
const (
	InQueue     Place = "queue"
	InRetry     Place = "retry"
	DeadLetters Place = "dead-letters"
)

// Application is what one consumer has done with a message.
type Application struct {
	Consumer  string
	AppliedAt time.Time // zero: not applied
	// OtherBody: it was applied with another body than the outbox has.
	OtherBody bool
	Started   int // starts that were not finished
	StartedAt time.Time
}

// QueueState is a queue with what a look has found.
type QueueState struct {
	Name      string
	Place     Place
	Missing   bool
	Ready     int
	Consumers int
	Seen      int    // messages that were taken and put back
	Copied    bool   // they were replaced by copies, to count no return
	Counted   bool   // each return counts towards a delivery limit, if there is one
	NotLooked string // why it was not looked into; empty: it was, or is empty
}

// State is where a message is.
type State string

// The states of a message, in the order of a journey.
const (
	Delayed      State = "delayed"       // its producer has asked for a later time
	Waiting      State = "waiting"       // pending: the relay's turn
	Blocked      State = "blocked"       // behind a failed message of its key
	Retrying     State = "retrying"      // the broker has refused it; it is published again
	Dead         State = "dead"          // it is not published again
	Discarded    State = "discarded"     // by hand
	Published    State = "published"     // and where it is now is not known
	Queued       State = "queued"        // ready in the consumer's queue
	Handling     State = "handling"      // held by a consumer
	Retry        State = "retry"         // its handler has failed; it waits in a retry queue
	DeadLettered State = "dead-lettered" // the consumer, or the broker, has given up
	Conflict     State = "conflict"      // another message was applied under its id
	Missing      State = "missing"       // published, and nowhere
	Applied      State = "applied"
	Unknown      State = "unknown"
)

// Verdict says where a message is, and what it takes to go on.
type Verdict struct {
	State State
	Stuck bool   // it does not go on by itself
	Why   string // one sentence; empty: there is nothing to say
	// Command frees a stuck message, or says more. It may be empty.
	Command string
}

// ErrNotFound means that nothing is known under the word that was asked for, as far as
// could be looked.
var ErrNotFound = errors.New("not found in outbox, queues or inbox")

// Find looks for a message by its event id, its key, or a correlation id. It
// returns ErrNotFound with what it has looked at, if there is nothing. What
// does not answer is left out; the result says so.
func Find(ctx context.Context, s Sources, word string, o Options) (*Journey, error) {
	f := newFinder(ctx, s, word, o)
	if err := f.search(ctx); err != nil {
		return f.journey, err
	}
	f.readInbox(ctx)
	f.lookIntoQueues(ctx)
	f.away()
	if err := ctx.Err(); err != nil {
		return f.journey, err
	}
	if len(f.found) == 0 {
		return f.journey, ErrNotFound
	}
	f.askBroker(ctx)
	f.arrange()
	for i := range f.journey.Messages {
		f.judge(&f.journey.Messages[i])
	}
	f.sum()
	return f.journey, nil
}

// finder is one search.
type finder struct {
	Sources
	Options
	ctx     context.Context // of Find
	journey *Journey
	id      uuid.NullUUID // the word, if it is one
	found   []*Message    // in the order they were found
	byID    map[string]*Message

	relays     []outbox.RelayStatus
	nextRelays []outbox.RelayStatus
	instances  []inbox.InstanceStatus
	inboxErr   error // of the last look
	queuesErr  error
	broker     string // why it takes no messages; empty: it does, or was not asked
	looked     bool   // into the queues, as far as they can be
	gets       map[string]tristate
}

// tristate is an answer that may be unknown.
type tristate int

const (
	notAsked tristate = iota
	unsure
	yes
)
