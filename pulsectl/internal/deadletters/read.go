package deadletters

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Queue is a dead-letter queue. Each call opens a connection of its own, and reads
// the whole queue: AMQP has no other way. Of one queue there may be one call at
// a time, in all processes; a second one gets an error that says so.
//
// What looking costs: every message is delivered once, and where the broker
// counts returns (quorum queues before RabbitMQ 4.3) it is also published once,
// as a copy that takes its place. The order stays, except that letters that come
// meanwhile may be among those that were there.
type Queue struct {
	Source inboxrabbit.SourceConfig // of the consumer whose dead letters these are
	// Name of the dead-letter queue. Defaults to that of the source.
	Name string
	// Progress, if set, is told how many letters were read, of how many that were
	// there at the beginning.
	Progress func(seen, total int)
}

// QueueName is the name of the dead-letter queue.
func (q Queue) QueueName() string {
	if q.Name != "" {
		return q.Name
	}
	return inboxrabbit.QueueNames(q.Source.Queue, q.Source.RetryDelays).DeadLetters
}

// MaxGroups bounds the groups of a Survey.
const MaxGroups = 500

// Group is the letters with the same reason and the same error, but for numbers,
// ids, times and quoted parts.
type Group struct {
	ID      string // for Filter.Group; the same in every queue and at any time
	Reason  string
	Error   string // normalised
	Count   int
	First   time.Time // when the first of them failed last; zero: none says when
	Last    time.Time
	Example Letter // the first in the queue
}

// Query says what a Survey is to hold.
type Query struct {
	Filter Filter
	// Limit is how many letters it holds, those behind After in the order of the
	// queue. Defaults to none.
	Limit int
	After string // Survey.Next of the page before; empty: from the beginning
	// Groups asks for groups.
	Groups bool
}

// Survey is what one reading of a queue has found.
type Survey struct {
	Queue   string
	Seen    int // letters in the queue
	Matched int // by the filter
	Bytes   int64
	Letters []Letter
	Next    string  // Query.After of the page that follows; empty: there is none
	Groups  []Group // of the matched, the largest first
	// Ungrouped letters are in none of the groups, because there would be too many.
	Ungrouped int
}

// Survey reads the queue once.
func (q Queue) Survey(ctx context.Context, query Query) (Survey, error) {
	s := Survey{Queue: q.QueueName()}
	page, err := newPager(query)
	if err != nil {
		return s, err
	}
	groups := make(map[string]*Group)
	err = q.Each(ctx, func(d *Detail) error {
		s.Seen++
		matches := query.Filter.Match(&d.Letter)
		page.add(&d.Letter, matches)
		if !matches {
			return nil
		}
		s.Matched++
		s.Bytes += int64(d.Size)
		if query.Groups && !addTo(groups, &d.Letter) {
			s.Ungrouped++
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	s.Letters, s.Next = page.result()
	for _, g := range groups {
		s.Groups = append(s.Groups, *g)
	}
	slices.SortFunc(s.Groups, func(a, b Group) int {
		if a.Count != b.Count {
			return b.Count - a.Count
		}
		return a.Example.Position - b.Example.Position
	})
	return s, nil
}

// addTo adds a letter to its group; false: that would be one too many.
func addTo(groups map[string]*Group, l *Letter) bool {
	g := groups[l.Group]
	if g == nil {
		if len(groups) == MaxGroups {
			return false
		}
		g = &Group{ID: l.Group, Reason: l.Reason, Error: l.normalised, Example: *l}
		groups[l.Group] = g
	}
	g.Count++
	if at := l.LastFailedAt; !at.IsZero() {
		if g.First.IsZero() || at.Before(g.First) {
			g.First = at
		}
		if at.After(g.Last) {
			g.Last = at
		}
	}
	return true
}

// maxFound bounds what Get returns.
const maxFound = 20

// Get returns the letters with a Ref: there may be copies, of which it returns up
// to 20. A *fail.Error of kind NotFound: none.
func (q Queue) Get(ctx context.Context, ref string) (found []Detail, err error) {
	err = q.Each(ctx, func(d *Detail) error {
		if d.Ref == ref && len(found) < maxFound {
			found = append(found, *d)
		}
		return nil
	})
	if err == nil && len(found) == 0 {
		err = fail.New(fail.NotFound, "list them: pulsectl dlq ls", "queue %q holds no dead letter %q", q.QueueName(), ref)
	}
	return found, err
}

// Each calls visit with the letters that are there when it begins, in the order
// of the queue. What a Detail refers to stays as it is, the Detail does not.
func (q Queue) Each(ctx context.Context, visit func(*Detail) error) error {
	i, err := inboxrabbit.OpenInspector(ctx, q.Source)
	if err != nil {
		return fail.CannotReach("broker", err)
	}
	defer i.Close()
	name := q.QueueName()
	total, _, err := i.Depth(ctx, name)
	if err != nil {
		return err
	}
	seen := 0
	err = i.DeadLettersIn(ctx, name, func(d inboxrabbit.DeadLetter) error {
		seen++
		if q.Progress != nil {
			q.Progress(seen, max(total, seen))
		}
		letter := read(name, seen, d)
		return visit(&letter)
	})
	return explain(err)
}

// explain adds what to do next.
func explain(err error) error {
	var incomplete *inboxrabbit.IncompleteError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, inboxrabbit.ErrInUse):
		return &fail.Error{Kind: fail.General, Message: "cannot read the dead letters", Cause: err,
			Hint: "wait for the other reader, such as another pulsectl, or stop it: rabbitmqctl list_consumers names it"}
	case errors.As(err, &incomplete):
		return &fail.Error{Kind: fail.General, Message: "cannot read all dead letters", Cause: err, Hint: "try again; rabbitmqctl list_consumers names other readers"}
	}
	return fail.Wrap("cannot read the dead letters", err)
}

// pager collects one page of letters. A cursor is position and Ref of the last one: in the
// meantime letters may have gone, and only then does the position not suffice.
type pager struct {
	limit    int
	position int
	ref      string
	found    bool // the letter with that ref
	letters  []Letter
	more     bool
}

func newPager(query Query) (*pager, error) {
	p := &pager{limit: query.Limit}
	if query.After == "" {
		return p, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(query.After)
	position, ref, cut := strings.Cut(string(text), " ")
	if err == nil && cut {
		p.position, err = strconv.Atoi(position)
		p.ref = ref
	}
	if err != nil || !cut || p.position < 1 {
		return nil, fail.Usagef("use the \"next\" of the previous page", "--cursor: %q is not a cursor", query.After)
	}
	return p, nil
}

func (p *pager) add(l *Letter, matches bool) {
	if p.ref != "" && !p.found && l.Ref == p.ref {
		p.found = true
		p.letters, p.more = nil, false
		return
	}
	if !p.found && l.Position <= p.position || !matches {
		return
	}
	if len(p.letters) == p.limit {
		p.more = true
		return
	}
	p.letters = append(p.letters, *l)
}

func (p *pager) result() (letters []Letter, next string) {
	if p.more && len(p.letters) > 0 {
		last := p.letters[len(p.letters)-1]
		next = base64.RawURLEncoding.EncodeToString(fmt.Append(nil, last.Position, " ", last.Ref))
	}
	return p.letters, next
}
