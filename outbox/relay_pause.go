package outbox

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/health"
)

// ErrPaused means that messages are left because their topic, or everything, is
// paused; see Operator.Pause.
var ErrPaused error = health.Public("publishing is paused")

// paused is what must not be sent, as one statement has seen it. The zero value is
// nothing.
type paused struct {
	topics map[string]bool // nil: none
	all    bool
}

func pausedTopics(topics []string) (p paused) {
	for _, topic := range topics {
		if topic == "" {
			p.all = true
			continue
		}
		if p.topics == nil {
			p.topics = make(map[string]bool)
		}
		p.topics[topic] = true
	}
	return p
}

func (p paused) any() bool { return p.all || len(p.topics) > 0 }

// stops reports whether messages of a topic must not be sent.
func (p paused) stops(topic string) bool { return p.all || p.topics[topic] }

func (p paused) equal(other paused) bool {
	return p.all == other.all && maps.Equal(p.topics, other.topics)
}

// with returns topics and those that are paused, as one set.
func (p paused) with(topics map[string]bool) map[string]bool {
	switch {
	case len(p.topics) == 0:
		return topics
	case len(topics) == 0:
		return p.topics
	}
	both := maps.Clone(topics)
	maps.Copy(both, p.topics)
	return both
}

// pauses is what the relay knows of pauses. Each read of a lane tells it, for the rows
// that it has found, and each look at the leases, for rows that were read before and
// for the rest of us.
type pauses struct {
	mu    sync.Mutex
	known paused
	asOf  time.Time // when the statement was sent that told
	list  []Pause   // as of the last look at the leases, with who and why
}

// now returns what is paused as far as is known.
func (p *pauses) now() paused {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known
}

func (p *pauses) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known, p.asOf, p.list = paused{}, time.Time{}, nil
}

// saw notes what a statement has seen that was sent at a time; changed: that differs
// from what was known. A statement that was sent before is old news.
func (p *pauses) saw(seen paused, sent time.Time) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if sent.Before(p.asOf) {
		return false
	}
	p.asOf = sent
	if changed = !seen.equal(p.known); changed {
		p.known = seen
	}
	return changed
}

// details returns the pauses with who and why, as of the last look at the leases.
func (p *pauses) details() []Pause {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list)
}

// told keeps the details, and returns which pauses have begun and which have ended
// since the last time.
func (p *pauses) told(list []Pause) (begun, ended []Pause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	has := func(list []Pause, topic string) bool {
		return slices.ContainsFunc(list, func(other Pause) bool { return other.Topic == topic })
	}
	for _, pause := range list {
		if !has(p.list, pause.Topic) {
			begun = append(begun, pause)
		}
	}
	for _, pause := range p.list {
		if !has(list, pause.Topic) {
			ended = append(ended, pause)
		}
	}
	p.list = list
	return begun, ended
}

// pauseRow is a pause as the look at the leases reads it.
type pauseRow struct {
	Topic  string `json:"topic"`
	Since  int64  `json:"since"` // in microseconds
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
}

// maxLoggedPauses bounds the lines that one look logs.
const maxLoggedPauses = 10

// lookAtPauses takes note of the pauses that a look at the leases, sent at a time, has
// found. Lanes that wait go on if one has ended.
func (r *Relay) lookAtPauses(ctx context.Context, rows []pauseRow, sent time.Time) {
	var list []Pause
	var topics []string
	for _, row := range rows {
		list = append(list, Pause{Topic: row.Topic, Since: time.UnixMicro(row.Since).UTC(), Actor: row.Actor, Reason: row.Reason})
		topics = append(topics, row.Topic)
	}
	slices.SortFunc(list, func(a, b Pause) int { return strings.Compare(a.Topic, b.Topic) })
	changed := r.pauses.saw(pausedTopics(topics), sent)
	begun, ended := r.pauses.told(list)
	for _, p := range begun[:min(len(begun), maxLoggedPauses)] {
		r.log.WarnContext(ctx, "publishing is paused", "topic", pauseName(p.Topic), "actor", p.Actor, "reason", p.Reason, "since", p.Since)
	}
	for _, p := range ended[:min(len(ended), maxLoggedPauses)] {
		r.log.InfoContext(ctx, "publishing goes on", "topic", pauseName(p.Topic))
	}
	if changed || len(ended) > 0 {
		r.Wake()
	}
}

// pauseName is how a log calls what is paused.
func pauseName(topic string) string {
	if topic == "" {
		return "(all)"
	}
	return topic
}

// problem returns an ErrPaused that names what is paused; nil: nothing is.
func (p *pauses) problem() error {
	list, known := p.details(), p.now()
	switch {
	case !known.any():
		return nil
	case len(list) == 0:
		return ErrPaused
	}
	var texts []string
	for _, pause := range list[:min(len(list), 3)] {
		texts = append(texts, fmt.Sprintf("%s by %s: %s", pauseName(pause.Topic), pause.Actor, pause.Reason))
	}
	if more := len(list) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("%w: %s", ErrPaused, strings.Join(texts, "; "))
}

// dropPaused takes messages away that were paused while the batch was being sent.
func (l *lane) dropPaused(s *sending, places []int) []int {
	now := l.relay.pauses.now()
	if !now.any() {
		return places
	}
	return slices.DeleteFunc(places, func(place int) bool {
		if !now.stops(s.rows[place].Topic) {
			return false
		}
		s.stops.at(s.rows[place], false)
		return true
	})
}

// dropTrials ends the trials of topics that a read has found paused.
func (l *lane) dropTrials(trials []trial, now paused) []trial {
	return slices.DeleteFunc(trials, func(t trial) bool {
		stopped := now.stops(t.topic)
		if stopped {
			l.endTrials([]trial{t})
		}
		return stopped
	})
}
