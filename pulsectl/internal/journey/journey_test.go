package journey_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/journey"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

const topic = "order.created"

// rig is an outbox, an inbox with an outbox beside it, and a consumer's queues.
type rig struct {
	t       *testing.T
	sources journey.Sources
	out, in *sqlx.DB
	dialect sqldb.Dialect
	channel *amqp.Channel
	names   inboxrabbit.Names
}

// eachRig runs test on PostgreSQL with RabbitMQ, and on SQLite with the
// development broker.
func eachRig(t *testing.T, test func(r *rig)) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		test(newRig(t, sqlite.URL(filepath.Join(dir, "orders.db")), sqlite.URL(filepath.Join(dir, "notifications.db")), devbroker.NewTest(t).URL()))
	})
	t.Run("services", func(t *testing.T) {
		t.Parallel()
		test(newRig(t, testenv.Postgres(t), testenv.Postgres(t), testenv.RabbitMQ(t)))
	})
}

func newRig(t *testing.T, outURL, inURL, broker string) *rig {
	t.Helper()
	r := &rig{t: t}
	open := func(url string) *sqlx.DB {
		db, d, err := database.Open(url, "test")
		r.check(err)
		t.Cleanup(func() { db.Close() })
		r.dialect = sqldb.Dialect(d)
		return db
	}
	r.out, r.in = open(outURL), open(inURL)
	var err error
	r.sources.Outbox, err = outbox.New(r.out)
	r.check(err)
	r.sources.Next, err = outbox.New(r.in)
	r.check(err)
	r.sources.Inbox, err = inbox.New(r.in, "notifications")
	r.check(err)
	for _, ob := range []*outbox.Outbox{r.sources.Outbox, r.sources.Next} {
		_, err := ob.Migrate(t.Context())
		r.check(err)
	}
	_, err = r.sources.Inbox.Migrate(t.Context())
	r.check(err)
	cfg := inboxrabbit.SourceConfig{URL: broker, Queue: topic, RetryDelays: []time.Duration{time.Hour}}
	r.sources.Queues = &queues.Reader{Source: cfg}
	r.names = r.sources.Queues.Names()

	conn, err := amqp.Dial(broker)
	r.check(err)
	t.Cleanup(func() { conn.Close() })
	r.channel, err = conn.Channel()
	r.check(err)
	r.check(r.channel.Confirm(false))
	layout, err := inboxrabbit.LayoutOf(cfg, "3.10")
	r.check(err)
	for _, q := range layout.Queues {
		_, err := r.channel.QueueDeclare(q.Name, true, false, false, false, q.Arguments)
		r.check(err)
	}
	return r
}

func (r *rig) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// enqueue writes a message to an outbox and sets columns of its row.
func (r *rig) enqueue(ob *outbox.Outbox, m outbox.Message, columns string) string {
	r.t.Helper()
	db := r.out
	if ob == r.sources.Next {
		db = r.in
	}
	m.ID, m.Payload = uuid.Must(uuid.NewV7()), []byte(`{"n":1}`)
	if m.Topic == "" {
		m.Topic = topic
	}
	tx, err := db.BeginTxx(r.t.Context(), nil)
	r.check(err)
	defer tx.Rollback()
	r.check(ob.Enqueue(r.t.Context(), tx, m))
	r.check(tx.Commit())
	if columns != "" {
		_, err := db.Exec(strings.ReplaceAll("UPDATE outbox_messages SET "+columns+" WHERE id = $2", "$past", "$1"),
			r.dialect.Time(time.Now().Add(-time.Hour)), m.ID.String())
		r.check(err)
	}
	return m.ID.String()
}

const published = "status = 'published', published_at = $past, created_at = $past, available_at = $past"

// apply notes the event as applied, with a body.
func (r *rig) apply(consumer, id, body string) {
	r.t.Helper()
	hash := sha256.Sum256([]byte(body))
	_, err := r.in.Exec(`INSERT INTO processed_events (consumer, event_id, topic, payload_hash) VALUES ($1, $2, $3, $4)`, consumer, id, topic, hash[:])
	r.check(err)
}

// put publishes a copy of a message to a queue.
func (r *rig) put(queue, id string, headers amqp.Table) {
	r.t.Helper()
	confirm, err := r.channel.PublishWithDeferredConfirm("", queue, false, false, amqp.Publishing{MessageId: id, DeliveryMode: amqp.Persistent, Headers: headers})
	r.check(err)
	if !confirm.Wait() {
		r.t.Fatal("refused")
	}
	testenv.Eventually(r.t, time.Minute, "the message to be in "+queue, func() bool {
		q, err := r.channel.QueueDeclarePassive(queue, true, false, false, false, nil)
		return err == nil && q.Messages > 0
	})
}

func (r *rig) find(word string, o journey.Options) *journey.Journey {
	r.t.Helper()
	j, err := journey.Find(r.t.Context(), r.sources, word, o)
	if err != nil {
		r.t.Fatalf("%s: %v; not looked at: %q", word, err, j.Unseen)
	}
	return j
}

// want fails unless the only message asked for is in this state, with texts in
// reason and command.
func (r *rig) want(j *journey.Journey, state journey.State, stuck bool, why, command string) {
	r.t.Helper()
	for _, m := range j.Messages {
		if !m.Asked {
			continue
		}
		if v := m.Verdict; v.State != state || v.Stuck != stuck || !strings.Contains(v.Why, why) || v.Command != command {
			r.t.Errorf("%+v\nwant %s, %v, %q, %q; not looked at: %q; queues: %+v", v, state, stuck, why, command, j.Unseen, j.Queues)
		}
		return
	}
	r.t.Errorf("%s was not found", j.Asked)
}

func TestFindInOutbox(t *testing.T) {
	eachRig(t, func(r *rig) {
		ob := r.sources.Outbox
		delayed := r.enqueue(ob, outbox.Message{AvailableAt: time.Now().Add(time.Hour)}, "")
		r.want(r.find(delayed, journey.Options{}), journey.Delayed, false, "later time", "")
		waiting := r.enqueue(ob, outbox.Message{}, "")
		r.want(r.find(waiting, journey.Options{}), journey.Waiting, true, "no relay is ready", "pulsectl status")
		dead := r.enqueue(ob, outbox.Message{Key: "k"}, "status = 'dead', attempts = 3, last_error = 'too large', created_at = $past")
		r.want(r.find(dead, journey.Options{}), journey.Dead, true, "given it up after 3 attempts: too large", "pulsectl outbox retry "+dead)
		behind := r.enqueue(ob, outbox.Message{Key: "k"}, "")
		j := r.find(behind, journey.Options{})
		r.want(j, journey.Blocked, true, dead+" of the same key, is dead after 3 attempts: too large", "pulsectl outbox retry "+dead)
		if len(j.Queues) > 0 {
			t := r.t
			t.Errorf("queues were looked at for a message that was never published: %+v", j.Queues)
		}
		retrying := r.enqueue(ob, outbox.Message{}, "attempts = 2, last_error = 'no queue', created_at = $past")
		r.want(r.find(retrying, journey.Options{}), journey.Retrying, true, "refused it 2 times: no queue", "pulsectl outbox retry "+retrying)
		discarded := r.enqueue(ob, outbox.Message{}, "status = 'discarded', discarded_at = $past, last_error = 'customer is gone'")
		r.want(r.find(discarded, journey.Options{}), journey.Discarded, false, "customer is gone", "")

		for _, pause := range []struct{ topic, why, command string }{
			{topic, "topic " + topic + " is paused by alice: broker moves", "pulsectl outbox resume --topic " + topic},
			{"", "publishing is paused by alice: broker moves", "pulsectl outbox resume"},
		} {
			operator := ob.Operator("alice", "broker moves")
			_, err := operator.Pause(r.t.Context(), pause.topic)
			r.check(err)
			r.want(r.find(waiting, journey.Options{}), journey.Waiting, true, pause.why, pause.command)
			_, err = operator.Resume(r.t.Context(), pause.topic)
			r.check(err)
		}

		// With a relay, which holds all buckets or none.
		now := time.Now()
		_, err := r.out.Exec(`INSERT INTO outbox_relays (owner, host, expires_at, ttl) VALUES ('r1', 'h', $1, 3600000)`, r.dialect.Time(now.Add(time.Hour)))
		r.check(err)
		old := r.enqueue(ob, outbox.Message{}, "created_at = $past, available_at = $past")
		r.want(r.find(old, journey.Options{}), journey.Waiting, true, "no relay holds the lease of its bucket", "pulsectl status")
		_, err = r.out.Exec(`UPDATE outbox_leases SET owner = 'r1', expires_at = $1`, r.dialect.Time(now.Add(time.Hour)))
		r.check(err)
		r.want(r.find(old, journey.Options{}), journey.Waiting, true, "relay r1 has not published it for 1h", "pulsectl status")
		r.want(r.find(waiting, journey.Options{}), journey.Waiting, false, "before it in the outbox are 3 pending", "")

		// The broker away: a pending message is not to blame, and says what to do.
		up := r.sources.Queues
		r.sources.Queues = &queues.Reader{Source: inboxrabbit.SourceConfig{URL: "amqp://127.0.0.1:1/", Queue: topic}}
		r.sources.BrokerUp = "pulsectl chaos broker-up"
		r.want(r.find(waiting, journey.Options{}), journey.Waiting, true, "cannot reach the broker", "pulsectl chaos broker-up")
		r.sources.Queues = up
	})
}

func TestFindPublished(t *testing.T) {
	eachRig(t, func(r *rig) {
		ob := r.sources.Outbox
		applied := r.enqueue(ob, outbox.Message{}, published)
		r.apply("notifications", applied, `{"n":1}`)
		r.apply("billing", applied, `{"n":1}`)
		j := r.find(applied, journey.Options{})
		r.want(j, journey.Applied, false, "", "")
		if m := j.Messages[0]; len(m.Inbox) != 2 || m.Inbox[0].Consumer != "billing" || m.Inbox[1].AppliedAt.IsZero() || len(j.Queues) > 0 {
			r.t.Errorf("%+v; queues %+v", m.Inbox, j.Queues)
		}

		gone := r.enqueue(ob, outbox.Message{}, published)
		j = r.find(gone, journey.Options{})
		r.want(j, journey.Missing, true, "in none of its queues", "pulsectl replay "+gone)
		fresh := r.enqueue(ob, outbox.Message{}, published)
		_, err := r.out.Exec(`UPDATE outbox_messages SET published_at = $1 WHERE id = $2`, r.dialect.Time(time.Now()), fresh)
		r.check(err)
		r.want(r.find(fresh, journey.Options{}), journey.Handling, false, "a moment ago", "")
		elsewhere := r.enqueue(ob, outbox.Message{Topic: "payment.made"}, published)
		r.want(r.find(elsewhere, journey.Options{}), journey.Published, false, "not known to get topic payment.made", "")

		letter := r.enqueue(ob, outbox.Message{}, published)
		r.put(r.names.DeadLetters, "another", nil)
		r.put(r.names.DeadLetters, letter, amqp.Table{"pulse-reason": "handler", "pulse-attempts": int64(5), "pulse-last-error": "mail server is full", "pulse-consumer": "notifications"})
		j = r.find(letter, journey.Options{})
		r.want(j, journey.DeadLettered, true, "notifications has dead-lettered it after 5 attempts, handler: mail server is full", "pulsectl dlq requeue "+letter)
		if c := j.Messages[0].Copies; len(c) != 1 || c[0].Position != 2 || c[0].Place != journey.DeadLetters || len(j.Notes) != 1 || !strings.Contains(j.Notes[0], "taken 2 messages") {
			r.t.Errorf("%+v, %q", c, j.Notes)
		}
		r.want(r.find(letter, journey.Options{LookLimit: 1}), journey.Unknown, false, "one of 2 messages in "+r.names.DeadLetters, fmt.Sprintf("pulsectl trace %s --look-limit 4", letter))
		r.want(r.find(letter, journey.Options{Look: journey.LookNever}), journey.Unknown, false, "one of 2 messages", fmt.Sprintf("pulsectl trace %s --look-limit 4", letter))

		conflict := r.enqueue(ob, outbox.Message{}, published)
		r.apply("notifications", conflict, "another body")
		r.want(r.find(conflict, journey.Options{}), journey.Applied, false, "another body", "pulsectl outbox show "+conflict)
		r.put(r.names.DeadLetters, conflict, amqp.Table{"pulse-reason": "conflict"})
		r.want(r.find(conflict, journey.Options{}), journey.Conflict, true, "another message was applied under its id", "pulsectl dlq show "+conflict)

		retried := r.enqueue(ob, outbox.Message{}, published)
		failed := time.Now().Add(-time.Minute).UTC()
		r.put(r.names.Retry[0].Queue, retried, amqp.Table{"pulse-attempts": int64(2), "pulse-reason": "handler", "pulse-last-error": "busy", "pulse-last-failed-at": failed.Format(time.RFC3339Nano)})
		j = r.find(retried, journey.Options{})
		r.want(j, journey.Retry, false, "failed 2 times: busy", "")
		for _, m := range j.Messages {
			if c := m.Copies; m.Asked && (len(c) != 1 || !c[0].DueAt.Equal(failed.Add(time.Hour))) {
				r.t.Errorf("%+v", c)
			}
		}

		// Nobody consumes; without a look it may be any of them.
		queued := r.enqueue(ob, outbox.Message{}, published)
		r.put(topic, queued, nil)
		r.want(r.find(queued, journey.Options{}), journey.Queued, true, "nobody consumes it: start the consumer; it may be one of them", "pulsectl status")
		r.want(r.find(queued, journey.Options{Look: journey.LookAlways}), journey.Queued, true, "it is number 1", "pulsectl status")
		// A consumer holds what it gets.
		deliveries, err := r.channel.Consume(topic, "", false, false, false, false, nil)
		r.check(err)
		<-deliveries
		_, err = r.in.Exec(`INSERT INTO inbox_instances (consumer, instance, queue, subscribed, held, oldest_held_at, seen_at)
			VALUES ('notifications', 'i1', $1, true, 1, $2, $2)`, topic, r.dialect.Time(time.Now().Add(time.Second)))
		r.check(err)
		r.want(r.find(queued, journey.Options{}), journey.Handling, false, "consumer i1 holds 1 message", "")

		// The inbox knows what the outbox has purged.
		purged := uuid.NewString()
		r.apply("notifications", purged, "x")
		r.want(r.find(purged, journey.Options{}), journey.Applied, false, "", "")
		// Nor need an event that only a queue has be known to a database.
		r.put(r.names.DeadLetters, "celery-1", amqp.Table{"pulse-reason": "undecodable"})
		r.want(r.find("celery-1", journey.Options{}), journey.DeadLettered, true, "undecodable", "pulsectl dlq show celery-1")
		if j, err := journey.Find(r.t.Context(), r.sources, "nothing", journey.Options{}); !errors.Is(err, journey.ErrNotFound) || j.Away() != nil {
			r.t.Errorf("%+v, %v", j, err)
		}
	})
}

// Related messages form a tree, over both outboxes.
func TestFindRelated(t *testing.T) {
	eachRig(t, func(r *rig) {
		root := r.enqueue(r.sources.Outbox, outbox.Message{Key: "order-1", CorrelationID: "c1"}, published)
		r.apply("notifications", root, `{"n":1}`)
		child := r.enqueue(r.sources.Next, outbox.Message{Topic: "mail.sent", CorrelationID: "c1", CausationID: root}, published)
		grandchild := r.enqueue(r.sources.Outbox, outbox.Message{Topic: "mail.read", CorrelationID: "c1", CausationID: child}, published)
		other := r.enqueue(r.sources.Outbox, outbox.Message{Topic: "audit", CorrelationID: "own", CausationID: root}, published)
		r.enqueue(r.sources.Outbox, outbox.Message{Key: "order-2", CorrelationID: "c2"}, published)

		tree := func(j *journey.Journey) (text string) {
			for _, m := range j.Messages {
				text += fmt.Sprintf("%s%d %s %v\n", strings.Repeat(" ", m.Depth), m.Depth, m.ID, m.Outbox.Next)
			}
			return text
		}
		// Rows of one time are in the order of their numbers.
		want := fmt.Sprintf("0 %s false\n 1 %s true\n  2 %s false\n 1 %s false\n", root, child, grandchild, other)
		for word, kind := range map[string]journey.Kind{root: journey.KindEvent, "order-1": journey.KindKey} {
			if j := r.find(word, journey.Options{}); tree(j) != want || j.Kind != kind || j.More {
				r.t.Errorf("%s is %s:\n%swant\n%s", word, j.Kind, tree(j), want)
			}
		}
		want = fmt.Sprintf("0 %s false\n 1 %s true\n  2 %s false\n", root, child, grandchild)
		if j := r.find(grandchild, journey.Options{}); tree(j) != want || j.Messages[0].Asked || !j.Messages[2].Asked {
			r.t.Errorf("upwards:\n%swant\n%s", tree(j), want)
		}
		if j := r.find("c1", journey.Options{}); !strings.HasPrefix(tree(j), want) || j.Kind != journey.KindCorrelation {
			r.t.Errorf("%s:\n%s", j.Kind, tree(j))
		}
		if j := r.find("c1", journey.Options{Limit: 2}); len(j.Messages) != 2 || !j.More {
			r.t.Errorf("%d messages, more: %v", len(j.Messages), j.More)
		}
	})
}

// What does not answer is named, and makes the answer incomplete where it
// matters.
func TestFindWithoutServers(t *testing.T) {
	eachRig(t, func(r *rig) {
		away := errors.New("connection refused")
		all := r.sources
		id := r.enqueue(all.Outbox, outbox.Message{}, published)

		r.sources.Queues, r.sources.QueuesErr = nil, away
		j := r.find(id, journey.Options{})
		r.want(j, journey.Unknown, false, "connection refused", "")
		if !errors.Is(j.Incomplete, away) || len(j.Unseen) != 1 {
			r.t.Errorf("%v, %q", j.Incomplete, j.Unseen)
		}
		r.sources.QueuesErr = nil
		if j := r.find(id, journey.Options{}); j.Incomplete != nil || len(j.Unseen) != 1 {
			r.t.Errorf("not given is no fault: %v, %q", j.Incomplete, j.Unseen)
		}
		r.sources = all
		r.sources.Inbox, r.sources.InboxErr, r.sources.Next = nil, away, nil
		if j := r.find(id, journey.Options{}); !errors.Is(j.Incomplete, away) || j.Messages[0].Verdict.State != journey.Published {
			r.t.Errorf("%v, %+v", j.Incomplete, j.Messages)
		}
		r.apply("notifications", id, `{"n":1}`)
		r.sources = all
		r.sources.Outbox, r.sources.OutboxErr = nil, away
		j = r.find(id, journey.Options{})
		r.want(j, journey.Applied, false, "", "")
		if j.Incomplete != nil {
			r.t.Errorf("it was applied, and yet: %v", j.Incomplete)
		}
		if j, err := journey.Find(r.t.Context(), r.sources, "nothing", journey.Options{}); !errors.Is(err, journey.ErrNotFound) || !errors.Is(j.Away(), away) {
			r.t.Errorf("%v, %v", j.Away(), err)
		}
		ctx, cancel := context.WithCancel(r.t.Context())
		cancel()
		if _, err := journey.Find(ctx, all, id, journey.Options{}); !errors.Is(err, context.Canceled) {
			r.t.Errorf("%v", err)
		}
	})
}
