package outbox

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// suspect is a message that got no verdict although the broker gave others. It is
// the fallback for publishers that do not find such a message themselves.
type suspect struct {
	topic     string
	answered  bool      // others of its topic have got verdicts since
	failures  int       // alone, after others had got verdicts
	notBefore time.Time // when it may be tried again
}

const (
	// maxSuspects limits how many are remembered, as in an outage all messages end so.
	maxSuspects = 32
	// maxFailedTopics is the same limit for topics.
	maxFailedTopics = 1000
	// proofs is how often a suspect must have failed alone, while others of its
	// topic got verdicts, to count as refused.
	proofs = 3
)

// chunk returns how many of rows are sent in one call. After a call that ended
// unavailable it is one and grows with each success, and a suspect is sent alone, so
// that a message because of which the broker closes the connection blocks only its
// key, even if the publisher does not find it.
func (l *lane) chunk(rows []*outgoing) int {
	n := slices.IndexFunc(rows, func(row *outgoing) bool {
		_, suspected := l.suspects[row.Seq]
		return suspected
	})
	switch n {
	case -1:
		return min(len(rows), l.window)
	case 0:
		return 1
	}
	return min(n, l.window)
}

// noteVerdict records that a message got a verdict: it and its topic are no longer
// suspected, and other suspects of the topic more so.
func (l *lane) noteVerdict(row *outgoing) {
	delete(l.failedAt, row.Topic)
	delete(l.suspects, row.Seq)
	for seq, s := range l.suspects {
		if s.topic == row.Topic {
			s.answered = true
			l.suspects[seq] = s
		}
	}
}

func (l *lane) suspect(row *outgoing) suspect {
	s, known := l.suspects[row.Seq]
	if !known {
		if len(l.suspects) >= maxSuspects {
			clear(l.suspects)
		}
		s.topic = row.Topic
		l.suspects[row.Seq] = s
	}
	return s
}

// explain finds out why messages got no verdict: the broker is down, it gives none on
// their topics, or it gives none on one message. It returns what call does.
func (l *lane) explain(work context.Context, rows []*outgoing, outcomes []outcome, err error) (_ []outcome, silent []string, answers bool) {
	unheard := unheardTopics(rows, outcomes)
	known := slices.ContainsFunc(outcomes, func(o outcome) bool { return o.verdict != none })
	alone := len(rows) == 1 && l.suspects[rows[0].Seq].answered
	if !alone && !l.brokerAnswers(work, unheard, known) {
		l.away(work, rows, unheard, err)
		return outcomes, nil, false
	}
	l.relay.monitor.trouble(work, partBroker, nil)
	if alone {
		return []outcome{l.refuse(work, rows[0], outcomes[0], err)}, nil, true
	}
	for _, topic := range unheard {
		if !l.relay.suspend(work, topic, cmp.Or(errorOf(rows, outcomes, topic), err)) {
			l.away(work, rows, unheard, err)
			return outcomes, nil, false
		}
		for seq, s := range l.suspects {
			if s.topic == topic {
				delete(l.suspects, seq) // it is not the message
			}
		}
	}
	for i, row := range rows {
		if outcomes[i].verdict == none && !slices.Contains(unheard, row.Topic) {
			l.suspect(row)
		}
	}
	return outcomes, unheard, true
}

// unheardTopics returns the topics of rows of which no message got a verdict.
func unheardTopics(rows []*outgoing, outcomes []outcome) (topics []string) {
	heard := make(map[string]bool)
	for i, row := range rows {
		heard[row.Topic] = heard[row.Topic] || outcomes[i].verdict != none
	}
	for topic, any := range heard {
		if !any {
			topics = append(topics, topic)
		}
	}
	return topics
}

// errorOf returns the first error on a message of topic.
func errorOf(rows []*outgoing, outcomes []outcome, topic string) error {
	for i, row := range rows {
		if row.Topic == topic && outcomes[i].err != nil {
			return outcomes[i].err
		}
	}
	return nil
}

// brokerAnswers reports whether the broker gives verdicts, though none on these
// topics. If the publisher is not a Pinger, that is so if other topics got verdicts,
// in the same call or since the only topic of the call failed before.
func (l *lane) brokerAnswers(ctx context.Context, unheard []string, known bool) bool {
	if _, ok := l.relay.publisher.(Pinger); ok {
		return l.relay.ping(ctx) == nil
	}
	if known || len(unheard) != 1 {
		return known
	}
	failedAt, failed := l.failedAt[unheard[0]]
	return failed && l.relay.outage.answeredSince(failedAt)
}

// away records that the broker gives no verdicts.
func (l *lane) away(ctx context.Context, rows []*outgoing, unheard []string, err error) {
	l.relay.monitor.trouble(ctx, partBroker, err)
	l.relay.outage.begin()
	l.window = 1
	if len(l.failedAt)+len(unheard) > maxFailedTopics {
		clear(l.failedAt)
	}
	for _, topic := range unheard {
		l.failedAt[topic] = time.Now()
	}
	if len(rows) == 1 {
		l.suspect(rows[0])
	}
}

// refuse returns the outcome of a suspect that got no verdict alone while others of
// its topic do. It is retried later, and in the end stored as failed: otherwise the
// cursor of its bucket would never pass it. It is never dead for that, as the reason
// may be a queue to which only its routing key leads.
func (l *lane) refuse(ctx context.Context, row *outgoing, o outcome, err error) outcome {
	s := l.suspects[row.Seq]
	s.failures++
	s.notBefore = time.Now().Add(retryPause(s.failures))
	s.answered = false
	l.suspects[row.Seq] = s
	if s.failures < proofs {
		return o
	}
	l.relay.log.WarnContext(ctx, "broker gives no verdict on one message, while it does on others of its topic",
		"id", row.ID, "topic", row.Topic, "error", err)
	delete(l.suspects, row.Seq)
	return outcome{verdict: failed, err: fmt.Errorf("no verdict on this message alone, %d times: %w", proofs, err), handed: true}
}
