package doctor

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/stacks"
	"github.com/asimalizada/pulse-events/pulsectl/internal/diagnosis"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

// What a relay and a consumer need besides a connection for each lane or worker.
const (
	besideLanes   = 4
	besideWorkers = 2
)

// patient is what is looked at.
type patient struct {
	*env.Env
	o      options
	given  env.Servers
	report *diagnosis.Report

	outbox       *outbox.Outbox // nil: not given, or it does not answer
	outDB, inDB  *sqlx.DB
	inbox        *inbox.Inbox
	outboxServer *diagnosis.Database
	subscribed   map[string]int // instances of consumers by queue; nil: not known
	topics       []string
}

// look looks at one after the other, beginning with the components that status
// shows.
func (p *patient) look(ctx context.Context) {
	p.report.Add(diagnosis.Finding{Check: "pulsectl", State: diagnosis.OK, Detail: "version " + p.o.version})
	down := map[string]bool{}
	for _, c := range stacks.Look(ctx, p.Env) {
		f := diagnosis.Finding{Check: c.Name, State: states[c.State], Detail: c.Detail}
		if f.State == diagnosis.Warn || f.State == diagnosis.Fail {
			f.Hint = hintFor(c.Name, f.State)
		}
		p.report.Add(f)
		down[c.Name] = c.State == stacks.StateDown
	}
	p.lookAtOutbox(ctx, down["outbox"])
	p.lookAtInbox(ctx, down["inbox"])
	if p.outbox != nil || p.inbox != nil {
		diagnosis.LookAtRetention(ctx, p.report, p.outbox, p.inbox, p.o.Options)
	}
	p.lookAtBroker(ctx, down["broker"])
}

// hintFor says what to type about a component that status reports.
func hintFor(component string, state diagnosis.State) string {
	switch {
	case component == "outbox" && state == diagnosis.Warn:
		return "pulsectl outbox ls --status retrying; pulsectl outbox ls --status dead"
	case component == "inbox" && state == diagnosis.Warn:
		return "start the consumer, or name another one: pulsectl --consumer NAME doctor"
	case component == "outbox" || component == "inbox":
		return "start the database, or correct PULSE_OUTBOX_DB and PULSE_INBOX_DB; its schema: pulsectl migrate up"
	case component == "broker" && state == diagnosis.Fail:
		return "start the broker, or correct PULSE_AMQP_URL"
	case component == "broker":
		return "start the consumer; for the reasons of dead letters: pulsectl dlq stats"
	}
	return "look at its log, and in docs/operations.md under First look"
}

func (p *patient) lookAtOutbox(ctx context.Context, down bool) {
	if !p.given.Outbox {
		return
	}
	ob, db, err := p.Outbox(ctx)
	if err != nil {
		p.report.Unknown("outbox.database", "", "not looked at: it does not answer")
		return
	}
	p.outDB = db
	relays := 0
	if !down {
		if relays, _, err = overview.Relays(ctx, ob); err != nil {
			relays = 0 // the component outbox says so
		}
	}
	p.outboxServer = &diagnosis.Database{
		Name: "outbox", DB: db, Tables: []string{"outbox_messages", "outbox_leases", "outbox_relays"}, ReadTables: []string{"outbox_pauses"}, VersionTable: "outbox_schema",
		CheckSchema: ob.CheckSchema, CheckReady: ob.CheckReady,
		Connections: relays * (p.o.Lanes + besideLanes), Need: fmt.Sprintf("%s with %d lanes and %d more", overview.Many(relays, "relay"), p.o.Lanes, besideLanes),
	}
	diagnosis.LookAtDatabase(ctx, p.report, p.outboxServer, p.o.Options)
	if ob.CheckSchema(ctx) != nil {
		return
	}
	p.outbox = ob
	diagnosis.LookAtOutbox(ctx, p.report, ob)
	if p.topics, err = diagnosis.Topics(ctx, db); err != nil {
		p.report.Unknown("broker.bindings", "", "the topics of the outbox cannot be read: %v", err)
	}
}

func (p *patient) lookAtInbox(ctx context.Context, down bool) {
	if !p.given.Inbox {
		return
	}
	in, db, err := p.Inbox(ctx)
	if err != nil {
		p.report.Unknown("inbox.database", "", "not looked at: it does not answer")
		return
	}
	p.inDB = db
	ready := in.CheckSchema(ctx) == nil
	running := 0
	findings := &diagnosis.Report{}
	if ready {
		p.inbox = in
		running, p.subscribed = diagnosis.LookAtConsumers(ctx, findings, db, in)
	}
	diagnosis.LookAtDatabase(ctx, p.report, &diagnosis.Database{
		Name: "inbox", DB: db, Tables: []string{"processed_events", "inbox_attempts", "inbox_instances"}, VersionTable: "inbox_schema",
		CheckSchema: in.CheckSchema, CheckReady: in.CheckReady, Other: p.outboxServer,
		Connections: running * (p.o.Workers + besideWorkers), Need: fmt.Sprintf("%s with %d workers and %d more", overview.Many(running, "consumer"), p.o.Workers, besideWorkers),
	}, p.o.Options)
	for _, f := range findings.Findings {
		p.report.Add(f)
	}
}

func (p *patient) lookAtBroker(ctx context.Context, down bool) {
	if !p.given.Broker {
		return
	}
	if down {
		p.report.Unknown("broker.queues", "", "not looked at: the broker does not answer")
		return
	}
	q, err := p.Queues()
	if err == nil && p.inbox != nil {
		q, err = p.QueuesOf(ctx, p.inbox)
	}
	if err != nil {
		p.report.Unknown("broker.queues", "", "%v", err)
		return
	}
	management, err := p.Management()
	if err != nil {
		p.report.Unknown("broker.management", "", "%v", err)
	}
	instances := -1
	if p.subscribed != nil {
		instances = p.subscribed[q.Source.Queue]
	}
	diagnosis.LookAtBroker(ctx, p.report, diagnosis.Broker{Queues: q, Management: management, Instances: instances, Subscribed: p.subscribed, Topics: p.topics}, p.o.Options)
}
