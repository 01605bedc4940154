package model

import (
	"fmt"
	"strings"
)

// Tell is a schedule in words, one line for each step, and what it breaks.
func Tell(cfg Config, schedule []Action) string {
	w, _ := NewWorld(cfg)
	var b strings.Builder
	n := 0
	schedule, _ = follow(cfg, schedule, nil) // with the steps in which the faults end
	_, v := follow(cfg, schedule, func(before, after *State, a Action) {
		n++
		fmt.Fprintf(&b, "%3d  %s\n", n, w.step(before, after, a))
	})
	if v != nil {
		fmt.Fprintf(&b, "     %s\n", v)
	}
	return b.String()
}

// step is a step in words.
func (w *World) step(before, after *State, a Action) string {
	switch who, what := int(a.Who), int(a.What); {
	case a.Kind <= Rollback:
		return w.producerStep(after, a.Kind, who)
	case a.Kind == Retry:
		return "somebody retries " + message(a.What)
	case a.Kind == Discard:
		return "somebody discards " + message(a.What)
	case a.Kind == Tick:
		if w.cfg.FineTime {
			return "a third of grace passes"
		}
		return "more than grace passes"
	case a.Kind < Accept:
		return w.relayStep(before, after, a.Kind, who, what)
	case a.Kind == Replay:
		return message(a.What) + " is replayed"
	case a.Kind == Forge:
		return "another message is published under the id of " + message(a.What)
	case a.Kind < Replay:
		return brokerStep(before, a.Kind, what)
	default:
		return consumerStep(before, after, a.Kind, who)
	}
}

func (w *World) producerStep(s *State, k Kind, i int) string {
	name := fmt.Sprintf("transaction %d", i+1)
	t, spec := &s.transactions[i], w.cfg.Transactions[i]
	var seqs set
	for n := range spec.messages() {
		seqs.add(t.first + int8(n))
	}
	list := messages(seqs)
	if spec.Key != 0 {
		list += fmt.Sprintf(" of key %c", 'a'+rune(spec.Key)-1)
	}
	switch k {
	case Insert:
		return name + " inserts " + list
	case Number:
		return name + " takes the numbers of " + list
	case Write:
		return name + " inserts " + list + ", whose numbers it took before"
	case Commit:
		return name + " commits"
	}
	return name + " is rolled back"
}

func (w *World) relayStep(before, after *State, k Kind, i, b int) string {
	name := relayName(int8(i))
	r := &after.relays[i]
	switch k {
	case Expire:
		return fmt.Sprintf("the lease on bucket %d runs out", b)
	case Leap:
		return fmt.Sprintf("the lease of %s on bucket %d runs out by the database's clock, and not by the relay's", name, b)
	case Renew:
		return name + " renews its leases" + changedLeases(before, r, i)
	case Take:
		return fmt.Sprintf("%s takes bucket %d, token %d", name, b, r.own[b].token)
	case Release:
		return fmt.Sprintf("%s gives bucket %d up", name, b)
	case Sweep, FullSweep:
		return name + " sweeps: " + found(r.strays&^before.relays[i].strays)
	case Due:
		return name + " looks for retries that are due: " + found(r.strays&^before.relays[i].strays)
	case Read, Receive:
		return name + " reads: " + found(r.page.rows) + cursors(w.cfg, &before.relays[i], r)
	case Ask:
		return name + " begins to read"
	case Look:
		return "the database answers " + name
	case Send:
		return name + " sends: " + sentBy(before, after, i) + cursors(w.cfg, &before.relays[i], r)
	case Confirm:
		return name + " has all verdicts" + cursors(w.cfg, &before.relays[i], r)
	case Cut:
		return "the connection of " + name + " to the broker is cut: no verdict arrives" + cursors(w.cfg, &before.relays[i], r)
	case CutLate:
		return "the connection of " + name + " to the broker is cut: some verdicts arrive"
	case Store:
		return name + " begins to store " + verdicts(&r.page)
	case Written:
		return name + " has stored them" + cursors(w.cfg, &before.relays[i], r)
	case ReplyLost:
		return "the database has stored them, and " + name + " does not learn that: it will try again"
	case Abort:
		return "the database rolls the write-back of " + name + " back"
	case Crash:
		return name + " crashes"
	}
	return name + " starts"
}

func changedLeases(before *State, after *relay, i int) (text string) {
	for b, own := range before.relays[i].own {
		if own.token != 0 && after.own[b].token == 0 {
			text += fmt.Sprintf(", and finds that bucket %d is another's", b)
		}
	}
	return text
}

func sentBy(before, after *State, i int) string {
	var seqs set
	for _, m := range after.wire[:after.wires] {
		if int(m.relay) == i {
			seqs.add(m.seq)
		}
	}
	if before.relays[i].phase == sending && after.relays[i].phase != waiting {
		return "nothing more"
	}
	return messages(seqs)
}

// cursors tells which cursors have moved.
func cursors(cfg Config, before, after *relay) (text string) {
	for b := range cfg.Buckets {
		from, to := before.buckets[b].position.Cursor, after.buckets[b].position.Cursor
		switch {
		case to > from:
			text += fmt.Sprintf("; its cursor passes %d", to)
		case to < from:
			text += fmt.Sprintf("; its cursor goes back to %d", to)
		}
	}
	return text
}

func verdicts(p *page) string {
	var parts []string
	for _, v := range []struct {
		seqs set
		name string
	}{{p.published, "published"}, {p.failed, "failed"}, {p.dead, "dead"}} {
		if v.seqs != 0 {
			parts = append(parts, messages(v.seqs)+" "+v.name)
		}
	}
	return strings.Join(parts, ", ")
}

func brokerStep(s *State, k Kind, place int) string {
	m := s.wire[place]
	name := message(m.seq)
	if m.relay >= 0 {
		name += " of " + relayName(m.relay)
	} else {
		name += ", which nobody waits for,"
	}
	switch k {
	case Accept:
		return name + " is in the queue"
	case Return:
		return name + " is returned: no queue is bound"
	case Nack:
		return name + " is refused"
	}
	return name + " is lost"
}

func consumerStep(before, after *State, k Kind, i int) string {
	name := consumerName(int8(i))
	held, now := &before.consumers[i], &after.consumers[i]
	what := message(held.copy.Seq)
	if held.copy.Body == 2 {
		what += " with another payload"
	}
	switch k {
	case Deliver:
		return message(now.copy.Seq) + " is delivered to " + name
	case Claim:
		return name + " claims " + what + map[consumerPhase]string{
			fresh: ": it is new", duplicate: ": it is a duplicate", toBury: ": it was applied with another payload",
		}[now.phase]
	case CommitEffect:
		return name + " commits the effect of " + what
	case CommitUnheard:
		return name + " commits the effect of " + what + ", and does not learn that: it runs it again"
	case Fail:
		return name + " fails, and its transaction is rolled back"
	case Locked:
		return name + " finds " + what + " claimed by another transaction"
	case Repeat:
		if held.phase == toBury {
			return what + " is a dead letter"
		}
		return name + " publishes " + what + " to be retried"
	case Ack:
		return name + " acknowledges " + what
	case CutConsumer:
		return "the connection of " + name + " to the broker is cut: " + what + " is in the queue again"
	case CrashConsumer:
		return name + " crashes"
	}
	return name + " starts"
}

// messages is a list of messages.
func messages(s set) string {
	var names []string
	for seq := s.next(0); seq != 0; seq = s.next(seq) {
		names = append(names, fmt.Sprint(seq))
	}
	switch len(names) {
	case 0:
		return "no message"
	case 1:
		return "message " + names[0]
	}
	return "messages " + strings.Join(names, ", ")
}

func found(s set) string {
	if s == 0 {
		return "nothing"
	}
	return messages(s)
}
