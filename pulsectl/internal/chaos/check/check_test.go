package check_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
)

const (
	orders = 12
	keys   = 3
)

// clean returns the history of a run without faults in which everything happened
// that may happen: answers of all kinds, copies, replays, a dead row, a dead letter,
// an order whose answer was lost, and follow-ups.
func clean() *check.History {
	h := new(check.History)
	for i := range orders {
		o := check.Order{ID: fmt.Sprint("order-", i), Event: fmt.Sprint("event-", i), Key: fmt.Sprint("key-", i%keys), N: i / keys}
		outcome := check.Accepted
		if i == 0 {
			outcome = check.Unknown
		}
		h.Orders = append(h.Orders, o)
		h.Answers = append(h.Answers, check.Answer{Order: o.ID, Outcome: outcome})
		h.Outbox = append(h.Outbox, check.Row{Event: o.Event, Status: check.Published, Body: "body of " + o.Event})
		h.Publications = append(h.Publications, check.Publication{Event: o.Event, Body: "body of " + o.Event})
		if i == 1 {
			h.DeadLetters = append(h.DeadLetters, o.Event)
			continue
		}
		follow := "follow-" + o.Event
		h.Inbox = append(h.Inbox, o.Event)
		h.Effects = append(h.Effects, check.Effect{Event: o.Event, FollowUp: follow, Body: "body of " + o.Event})
		h.Outbox = append(h.Outbox, check.Row{Event: follow, Status: check.Published, Body: "body of " + follow})
		h.Publications = append(h.Publications, check.Publication{Event: follow, Cause: o.Event, Body: "body of " + follow})
	}
	h.Answers = append(h.Answers,
		check.Answer{Order: "refused", Outcome: check.Refused}, check.Answer{Order: "cut-off", Outcome: check.Unknown})
	h.Orders = append(h.Orders, check.Order{ID: "order-dead", Event: "event-dead", Key: "key-dead"})
	h.Outbox = append(h.Outbox, check.Row{Event: "event-dead", Status: check.Dead, Body: "body of event-dead"})
	h.Replayed, h.Restored = []string{"event-3"}, []string{"event-5"}
	h.Publications = append(h.Publications, publication(h, "event-3"), publication(h, "event-5"), publication(h, "event-4"))
	return h
}

func publication(h *check.History, event string) check.Publication {
	return h.Publications[publicationOf(h, event)]
}

func publicationOf(h *check.History, event string) int {
	return slices.IndexFunc(h.Publications, func(p check.Publication) bool { return p.Event == event })
}

func TestJudgeClean(t *testing.T) {
	h := clean()
	r := check.Judge(h)
	if r.Verdict() != check.Clean {
		t.Fatalf("%s: %+v", r.Verdict(), r.Findings)
	}
	want := check.Report{
		Accepted: 11, Refused: 1, Unknown: 2, Orders: 13, FollowUps: 11, Rows: 24, Published: 23, Dead: 1, OrdersPublished: 12,
		Publications: 26, Copies: 3, Applied: 11, Effects: 11, DeadLettered: 1, Replayed: 1, Restored: 1,
	}
	if !reflect.DeepEqual(*r, want) {
		t.Errorf("got  %+v\nwant %+v", *r, want)
	}
	// What is open is no finding.
	h.Outbox[2].Status = check.Pending
	if r := check.Judge(h); r.Verdict() != check.Unsettled || r.Pending != 1 {
		t.Errorf("with a pending row: %s, %+v", r.Verdict(), r)
	}
	if r := check.Judge(new(check.History)); r.Verdict() != check.Unproven {
		t.Errorf("nothing happened: %s", r.Verdict())
	}
}

// Each fault that a relay, a consumer, a broker or a service could commit is
// planted into a clean history, and found: this kind, of this id, and nothing else
// but what follows from it.
func TestJudgeFindsPlantedFaults(t *testing.T) {
	planted := map[check.Kind]bool{}
	for _, c := range []struct {
		fault string
		plant func(h *check.History)
		want  []check.Finding
	}{
		{"an accepted order was never committed", func(h *check.History) {
			h.Answers = append(h.Answers, check.Answer{Order: "order-gone", Outcome: check.Accepted})
		}, found(check.AnsweredAbsent, "order-gone")},
		{"a refused order was committed", func(h *check.History) {
			h.Answers = append(h.Answers, check.Answer{Order: "order-5", Outcome: check.Refused})
		}, found(check.RefusedPresent, "order-5")},
		{"an order was committed without its event", func(h *check.History) {
			h.Outbox = slices.DeleteFunc(h.Outbox, func(r check.Row) bool { return r.Event == "event-dead" })
		}, found(check.NoEvent, "order-dead")},
		{"an effect was committed without its follow-up", func(h *check.History) {
			remove(h, "follow-event-5")
		}, found(check.NoEvent, "event-5")},
		{"a row was deleted before it was published", func(h *check.History) {
			remove(h, "event-11")
			remove(h, "follow-event-11")
			h.Effects, h.Inbox = h.Effects[:10], h.Inbox[:10]
		}, found(check.NoEvent, "order-11")},
		{"the relay marks a message published that the broker never got", func(h *check.History) {
			h.Publications = slices.DeleteFunc(h.Publications, func(p check.Publication) bool { return p.Event == "follow-event-7" })
		}, found(check.NeverPublished, "follow-event-7")},
		{"an unconfirmed message counts as published, and is gone with the broker", func(h *check.History) {
			unapply(h, "event-7")
			h.Publications = slices.DeleteFunc(h.Publications, func(p check.Publication) bool { return p.Event == "event-7" })
		}, found(check.NeverPublished, "event-7")},
		{"the consumer acknowledges before it commits", func(h *check.History) {
			unapply(h, "event-8")
		}, found(check.Lost, "event-8")},
		{"the consumer applies a redelivery again", func(h *check.History) {
			h.Effects = append(h.Effects, check.Effect{Event: "event-4", Body: "body of event-4"})
		}, found(check.Duplicated, "event-4")},
		{"the inbox lets an event in twice", func(h *check.History) {
			h.Inbox = append(h.Inbox, "event-4")
		}, found(check.Duplicated, "event-4")},
		{"an order is stored twice", func(h *check.History) {
			h.Orders = append(h.Orders, h.Orders[2])
		}, found(check.Duplicated, "order-2")},
		{"an event is in the outbox twice", func(h *check.History) {
			h.Outbox = append(h.Outbox, h.Outbox[0])
		}, found(check.Duplicated, "event-0")},
		{"two effects name one follow-up", func(h *check.History) {
			h.Effects[3].FollowUp = h.Effects[2].FollowUp
			remove(h, "follow-event-4")
		}, slices.Concat(found(check.Duplicated, "follow-event-3"), found(check.BeforeCause, "follow-event-3"), found(check.WrongCause, "follow-event-3"))},
		{"a replay is applied", func(h *check.History) {
			h.Effects = append(h.Effects, check.Effect{Event: "event-3", Body: "body of event-3"})
		}, found(check.ReplayApplied, "event-3")},
		{"what a deleted queue held is published again, and was applied before", func(h *check.History) {
			h.Effects = append(h.Effects, check.Effect{Event: "event-5", Body: "body of event-5"})
		}, found(check.ReplayApplied, "event-5")},
		{"what a deleted queue held is gone", func(h *check.History) {
			unapply(h, "event-5")
		}, found(check.Lost, "event-5")},
		{"a transaction was rolled back, its row was not", func(h *check.History) {
			h.Outbox = append(h.Outbox, check.Row{Event: "event-ghost", Status: check.Pending})
		}, found(check.Ghost, "event-ghost")},
		{"the event of a transaction that was rolled back was published", func(h *check.History) {
			h.Publications = append(h.Publications, check.Publication{Event: "event-ghost"})
		}, found(check.Ghost, "event-ghost")},
		{"an event of nobody was applied", func(h *check.History) {
			h.Inbox = append(h.Inbox, "event-ghost")
			h.Effects = append(h.Effects, check.Effect{Event: "event-ghost"})
		}, found(check.Ghost, "event-ghost")},
		{"an event of nobody is a dead letter", func(h *check.History) {
			h.DeadLetters = append(h.DeadLetters, "event-ghost")
		}, found(check.Ghost, "event-ghost")},
		{"an order was lost that its event survived", func(h *check.History) {
			h.Orders = slices.DeleteFunc(h.Orders, func(o check.Order) bool { return o.ID == "order-0" })
		}, found(check.Ghost, "event-0")},
		{"the effect was rolled back, the claim was not", func(h *check.History) {
			h.Effects = slices.DeleteFunc(h.Effects, func(e check.Effect) bool { return e.Event == "event-9" })
			remove(h, "follow-event-9")
		}, append(found(check.Lost, "event-9"), found(check.HalfApplied, "event-9")...)},
		{"the claim was rolled back, the effect was not", func(h *check.History) {
			h.Inbox = slices.DeleteFunc(h.Inbox, func(e string) bool { return e == "event-9" })
		}, found(check.HalfApplied, "event-9")},
		{"two relays publish one key side by side", func(h *check.History) {
			a, b := publicationOf(h, "event-6"), publicationOf(h, "event-9")
			h.Publications[a], h.Publications[b] = h.Publications[b], h.Publications[a]
			a, b = publicationOf(h, "follow-event-6"), publicationOf(h, "event-6")
			h.Publications[a], h.Publications[b] = h.Publications[b], h.Publications[a]
		}, found(check.OutOfOrder, "event-6")},
		{"a follow-up overtakes its cause", func(h *check.History) {
			a, b := publicationOf(h, "event-10"), publicationOf(h, "follow-event-10")
			h.Publications[a], h.Publications[b] = h.Publications[b], h.Publications[a]
		}, found(check.BeforeCause, "follow-event-10")},
		{"the cause of a follow-up was never published", func(h *check.History) {
			h.Publications = slices.DeleteFunc(h.Publications, func(p check.Publication) bool { return p.Event == "event-10" })
		}, append(found(check.NeverPublished, "event-10"), found(check.BeforeCause, "follow-event-10")...)},
		{"a message names another cause", func(h *check.History) {
			h.Publications[publicationOf(h, "follow-event-10")].Cause = "event-2"
		}, found(check.WrongCause, "follow-event-10")},
		{"a message is changed on its way to the broker", func(h *check.History) {
			h.Publications[len(h.Publications)-1].Body = "another"
		}, found(check.Altered, "event-4")},
		{"a message is changed on its way to the consumer", func(h *check.History) {
			h.Effects[5].Body = "another"
		}, found(check.Altered, h0(5))},
	} {
		t.Run(c.fault, func(t *testing.T) {
			h := clean()
			c.plant(h)
			r := check.Judge(h)
			slices.SortFunc(c.want, byKind)
			if got := slices.SortedFunc(slices.Values(r.Findings), byKind); !reflect.DeepEqual(got, c.want) {
				t.Errorf("found %+v, want %+v", got, c.want)
			}
			if r.Verdict() != check.Violated {
				t.Errorf("the verdict is %s", r.Verdict())
			}
			for _, f := range c.want {
				planted[f.Kind] = true
				if r.Count(f.Kind) != len(f.IDs) {
					t.Errorf("%s: %d counted", f.Kind, r.Count(f.Kind))
				}
			}
		})
	}
	for _, k := range check.Kinds() {
		if !planted[k] {
			t.Errorf("no fault of kind %s is planted", k)
		}
		if k.Meaning() == "" {
			t.Errorf("%s has no meaning", k)
		}
	}
}

// While messages are on their way nothing is called lost, and what is wrong
// already is found all the same.
func TestJudgeUnsettled(t *testing.T) {
	h := clean()
	unapply(h, "event-8")
	h.Queued = 1
	if r := check.Judge(h); r.Verdict() != check.Unsettled || r.Open != 1 {
		t.Errorf("%s, %d open: %+v", r.Verdict(), r.Open, r.Findings)
	}
	h.Inbox = append(h.Inbox, "event-4")
	if r := check.Judge(h); r.Verdict() != check.Violated {
		t.Errorf("%s with an event that was let in twice", r.Verdict())
	}
}

// A history survives being written and read.
func TestHistoryAsJSON(t *testing.T) {
	text, err := json.Marshal(clean())
	if err != nil {
		t.Fatal(err)
	}
	read := new(check.History)
	if err := json.Unmarshal(text, read); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read, clean()) {
		t.Errorf("read %+v", read)
	}
}

func byKind(a, b check.Finding) int {
	return slices.Index(check.Kinds(), a.Kind) - slices.Index(check.Kinds(), b.Kind)
}

func found(k check.Kind, ids ...string) []check.Finding { return []check.Finding{{Kind: k, IDs: ids}} }

// h0 is the event of the effect with this index in a clean history.
func h0(effect int) string { return clean().Effects[effect].Event }

// remove removes an event from outbox and broker.
func remove(h *check.History, event string) {
	h.Outbox = slices.DeleteFunc(h.Outbox, func(r check.Row) bool { return r.Event == event })
	h.Publications = slices.DeleteFunc(h.Publications, func(p check.Publication) bool { return p.Event == event })
}

// unapply removes all that was done for an event.
func unapply(h *check.History, event string) {
	h.Inbox = slices.DeleteFunc(h.Inbox, func(e string) bool { return e == event })
	h.Effects = slices.DeleteFunc(h.Effects, func(e check.Effect) bool { return e.Event == event })
	remove(h, "follow-"+event)
}
