package deadletters

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
)

// Actions in the audit of an outbox.
const (
	ActionRequeue = "dlq requeue"
	ActionDiscard = "dlq discard"
	ActionHeal    = "dlq heal"
	ActionImport  = "dlq import"
)

// Audit says where an intervention is recorded. The zero value records nothing.
type Audit struct {
	// Operator of an outbox records it, before the first letter goes. What cannot
	// be recorded is done all the same, for the outbox's database may be what is
	// down: the report says why it is not.
	Operator *outbox.Operator
}

// recorder records what happens to letters, and forgets the rest at the first error.
type recorder struct {
	audit    Audit
	action   string
	filter   map[string]string
	recorded *outbox.Recorded
	ids      []string
	err      error
}

func newRecorder(a Audit, action, queue, to string, f Filter) *recorder {
	filter := f.described()
	filter["queue"] = queue
	if to != "" {
		filter["to"] = to
	}
	return &recorder{audit: a, action: action, filter: filter}
}

// begin makes sure that there is an entry.
func (r *recorder) begin(ctx context.Context) {
	if r.recorded == nil && r.err == nil && r.audit.Operator != nil {
		r.recorded, r.err = r.audit.Operator.Record(context.WithoutCancel(ctx), r.action, r.filter)
	}
}

func (r *recorder) add(ctx context.Context, ref string) {
	if r.recorded == nil {
		return
	}
	if r.ids = append(r.ids, ref); len(r.ids) == appliedAtOnce {
		r.flush(ctx)
	}
}

func (r *recorder) flush(ctx context.Context) {
	if r.recorded != nil && r.err == nil {
		r.err = r.recorded.Add(context.WithoutCancel(ctx), r.ids...)
	}
	r.ids = r.ids[:0]
}

// described is the filter as names and values.
func (f Filter) described() map[string]string {
	all := make(map[string]string)
	set := func(name, value string) {
		if value != "" {
			all[name] = value
		}
	}
	number := func(name string, n int) {
		if n > 0 {
			all[name] = strconv.Itoa(n)
		}
	}
	at := func(name string, t time.Time) {
		if !t.IsZero() {
			all[name] = t.UTC().Format(time.RFC3339)
		}
	}
	set("group", f.Group)
	set("reason", f.Reason)
	set("error", f.Error)
	set("topic", f.Topic)
	set("type", f.Type)
	set("key", f.Key)
	set("consumer", f.Consumer)
	at("since", f.Since)
	at("until", f.Until)
	number("min attempts", f.MinAttempts)
	number("max attempts", f.MaxAttempts)
	if f.WithoutID {
		all["without id"] = "true"
	}
	if f.Refs != nil {
		all["ids"] = fmt.Sprint(len(f.Refs))
	}
	return all
}
