package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

const silentTopic = "payment.made"

// newSilentBroker has queues for two topics, of which one will get no
// confirms.
func newSilentBroker(t *testing.T, stall time.Duration) (broker, *rabbittest.Proxy, *rabbitmq.Publisher) {
	t.Helper()
	b, proxy := newProxiedBroker(t)
	b.queue(t, topic, nil)
	b.queue(t, silentTopic, nil)
	cfg := b.config(t)
	cfg.StallTimeout = stall
	return b, proxy, newPublisher(t, cfg)
}

// A message that got no confirm is not sent again while it may still come.
func TestPublisherLateConfirm(t *testing.T) {
	b, proxy, p := newSilentBroker(t, impatient)
	wantPublished(t, p.Publish(t.Context(), newMessages(silentTopic, 1)))
	b.take(t, silentTopic, 1)
	proxy.Withhold(silentTopic)
	msgs := newMessages(silentTopic, 5)
	for range 3 { // a relay tries again and again
		text := wantEach(t, p.Publish(t.Context(), msgs), outbox.ErrUnavailable)
		for _, want := range []string{"no confirm in time", silentTopic, "majority"} {
			if !strings.Contains(text, want) {
				t.Errorf("text %q lacks %q", text, want)
			}
		}
		wantPublished(t, p.Publish(t.Context(), newMessages(topic, 20)))
	}
	proxy.Release(silentTopic)
	wantPublished(t, p.Publish(t.Context(), msgs))
	for i, d := range b.take(t, silentTopic, len(msgs)) {
		if d.MessageId != msgs[i].ID.String() {
			t.Errorf("message %d has id %s, want %s", i, d.MessageId, msgs[i].ID)
		}
	}
	b.empty(t, silentTopic)

	// One that is published, and then once more, is sent once more.
	wantPublished(t, p.Publish(t.Context(), msgs))
	b.take(t, silentTopic, len(msgs))
}

// The publisher waits for late confirms while it publishes the rest of the call,
// and a late return counts as a refusal.
func TestPublisherLateReturn(t *testing.T) {
	b, proxy, p := newSilentBroker(t, impatient)
	wantPublished(t, p.Publish(t.Context(), newMessages(topic, 1)))
	const nowhere = "no.queue"
	proxy.Withhold(nowhere)
	lost := newMessages(nowhere, 2)
	wantEach(t, p.Publish(t.Context(), lost), outbox.ErrUnavailable)
	proxy.Release(nowhere)
	msgs := slices.Concat(newMessages(topic, 10), lost, newMessages(topic, 10))
	results := p.Publish(t.Context(), msgs)
	wantEach(t, results[10:12], outbox.ErrUnroutable)
	wantPublished(t, slices.Delete(results, 10, 12))
	b.take(t, topic, 21)
	b.empty(t, topic)
}

// A refusal that comes late is that of a queue which has failed: it is no verdict on
// the message, which is sent again. A queue that is full says so at once.
func TestPublisherLateRefusal(t *testing.T) {
	b, proxy, p := newSilentBroker(t, impatient)
	wantPublished(t, p.Publish(t.Context(), newMessages(topic, 1)))
	const full = "stock.changed"
	makeRoom := b.harness().Features.BindRefusing(t, full)
	proxy.Withhold(full)
	msgs := newMessages(full, 1)
	wantEach(t, p.Publish(t.Context(), msgs), outbox.ErrUnavailable)
	proxy.Release(full)
	testenv.Eventually(t, patience, "the refusal to arrive", func() bool {
		err := p.Publish(t.Context(), msgs)[0]
		if !outbox.IsUnavailable(err) || errors.Is(err, outbox.ErrRejected) {
			t.Fatalf("got error %v, want it to be unavailable", err)
		}
		for _, want := range []string{"no confirm in time", "then refused", full, "majority"} {
			if !strings.Contains(err.Error(), want) {
				return false
			}
		}
		return true
	})
	wantEach(t, publishSoon(t, p, msgs), outbox.ErrRejected)
	makeRoom()
	wantPublished(t, publishSoon(t, p, msgs))
	b.take(t, full, 1)
	b.empty(t, full)
}

// When the connection is lost, so are the confirms that were still to come.
func TestPublisherLostConnectionEndsWait(t *testing.T) {
	b, proxy, p := newSilentBroker(t, impatient)
	wantPublished(t, p.Publish(t.Context(), newMessages(silentTopic, 1)))
	proxy.Withhold(silentTopic)
	msgs := newMessages(silentTopic, 5)
	wantEach(t, p.Publish(t.Context(), msgs), outbox.ErrUnavailable)
	proxy.Cut()
	wantEach(t, p.Publish(t.Context(), msgs), outbox.ErrUnavailable)
	proxy.Release(silentTopic)
	proxy.Restore()
	wantPublished(t, publishSoon(t, p, msgs))
	b.take(t, silentTopic, 11)
}

// Of a topic that has not been confirmed for a while, few messages are sent
// before one is: RabbitMQ stops reading from the whole connection when a queue
// that takes nothing is given hundreds.
func TestPublisherLimitsUnconfirmedOfSilentTopic(t *testing.T) {
	b, proxy, p := newSilentBroker(t, impatient)
	wantPublished(t, p.Publish(t.Context(), newMessages(topic, 1)))
	proxy.Withhold(silentTopic)
	msgs := slices.Concat(newMessages(silentTopic, 500), newMessages(topic, 500))
	results := p.Publish(t.Context(), msgs)
	wantEach(t, results[:500], outbox.ErrUnavailable)
	wantPublished(t, results[500:])
	b.take(t, topic, 501)
	b.take(t, silentTopic, 1)
	b.empty(t, silentTopic)
}

// A channel that has not published to a quorum queue before waits for it, and so
// does everything behind it. Each topic counts only its own messages.
func TestPublisherHangingQueueDelaysNoTopic(t *testing.T) {
	t.Parallel() // it waits
	server := testenv.RabbitMQServer(t)
	// A busy broker may need longer for the topics that it serves than the publisher
	// gives it: then it gets more time.
	for stall := 2 * time.Second; !publishBesideHangingQueues(t, server, stall); stall *= 2 {
		if stall > 10*time.Second {
			t.Fatalf("topics wait for others although the publisher gives the broker %v", stall)
		}
	}
}

// publishBesideHangingQueues publishes to queues of which some hang, and returns
// false if the others did not get their messages in time.
func publishBesideHangingQueues(t *testing.T, server *testenv.Server, stall time.Duration) bool {
	t.Helper()
	b := broker{url: server.URL(), publisherURL: server.URL(), exchange: "pulse.events"}
	var stuck, topics []string
	for n := range 2 {
		stuck = append(stuck, fmt.Sprintf("stuck.%d.%v", n, stall))
	}
	for n := range 3 {
		topics = append(topics, fmt.Sprintf("well.%d.%v", n, stall))
	}
	for _, name := range slices.Concat(stuck, topics) {
		b.queue(t, name, amqp.Table{"x-queue-type": "quorum"})
	}
	cfg := b.config(t)
	cfg.StallTimeout = stall
	cfg.ConfirmTimeout = 10 * time.Minute // rabbitmqctl may take its time to resume the queues: then nothing is sent twice all the same
	p := newPublisher(t, cfg)
	var resume []func()
	for _, name := range stuck {
		resume = append(resume, server.HangQueue(name))
	}
	var msgs []outbox.Message
	for range 20 {
		for _, name := range slices.Concat(stuck, topics) {
			msgs = append(msgs, newMessages(name, 1)...)
		}
	}
	inTime := true
	for i, err := range p.Publish(t.Context(), msgs) {
		switch {
		case slices.Contains(stuck, msgs[i].Topic):
			wantEach(t, []error{err}, outbox.ErrUnavailable)
		case outbox.IsUnavailable(err):
			t.Logf("message %d, topic %s, is late: %v", i, msgs[i].Topic, err)
			inTime = false
		case err != nil:
			t.Errorf("message %d, topic %s: %v", i, msgs[i].Topic, err)
		}
	}
	for _, f := range resume {
		f()
	}
	if !inTime {
		return false
	}
	wantPublished(t, publishSoon(t, p, slices.DeleteFunc(slices.Clone(msgs), func(m outbox.Message) bool { return !slices.Contains(stuck, m.Topic) })))
	for _, name := range slices.Concat(stuck, topics) {
		deliveries := b.take(t, name, 20)
		for n, d := range deliveries {
			if want := msgs[5*n+slices.Index(slices.Concat(stuck, topics), name)].ID.String(); d.MessageId != want {
				t.Errorf("topic %s, message %d has id %s, want %s", name, n, d.MessageId, want)
			}
		}
	}
	return true
}

// An answer is waited for as long as its channel is kept, and then the message is
// sent again, although the channel is stuck and cannot be closed.
func TestPublisherRepeatsUnconfirmed(t *testing.T) {
	t.Parallel() // it waits
	server := testenv.RabbitMQServer(t)
	b := broker{url: server.URL(), publisherURL: server.URL(), exchange: "pulse.events"}
	b.queue(t, topic, nil)
	const another = "stock.changed"
	for _, name := range []string{silentTopic, another} {
		b.queue(t, name, amqp.Table{"x-queue-type": "quorum"})
	}
	cfg := b.config(t)
	cfg.StallTimeout, cfg.ConfirmTimeout = impatient, 5*impatient/2 // which ends while it is waited for
	p := newPublisher(t, cfg)
	wantPublished(t, publishSoon(t, p, newMessages(topic, 1)))
	for _, name := range []string{silentTopic, another} {
		defer server.HangQueue(name)()
	}
	msgs := newMessages(silentTopic, 2)
	wantEach(t, p.Publish(t.Context(), msgs), outbox.ErrUnavailable)

	// Others are tried in vain all the time.
	ctx, cancel := context.WithCancel(t.Context())
	var others sync.WaitGroup
	others.Go(func() {
		for ctx.Err() == nil {
			p.Publish(ctx, newMessages(another, 1))
		}
	})
	defer others.Wait()
	defer cancel()
	b.do(t, func(ch *amqp.Channel) error {
		return errors.Join(ch.QueueUnbind(silentTopic, silentTopic, b.exchange, nil), ch.QueueBind(topic, silentTopic, b.exchange, false, nil))
	})
	publishSoon(t, p, msgs)
}

func TestPublisherPing(t *testing.T) {
	b, proxy := newProxiedBroker(t)
	cfg := b.config(t)
	cfg.ConfirmTimeout = impatient
	p := newPublisher(t, cfg)
	b.queue(t, topic, nil)
	wantPing := func(what, problem string) {
		t.Helper()
		if err := p.Ping(t.Context()); (err == nil) != (problem == "") || err != nil && !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: got error %v, want %q", what, err, problem)
		}
	}
	wantPublished(t, publishSoon(t, p, newMessages(topic, 1)))
	wantPing("all is well", "")
	b.deleteExchange(t)
	wantPing("the exchange is missing", "404")
	b.queue(t, topic, nil)
	proxy.Block("low on memory")
	wantEach(t, p.Publish(t.Context(), newMessages(topic, 1)), outbox.ErrUnavailable)
	wantPing("the broker blocks", "low on memory")
	proxy.Restore()
	wantPublished(t, publishSoon(t, p, newMessages(topic, 1)))
	proxy.Cut()
	awaitHealth(t, p, "connect")
	wantPing("there is no connection", "not connected")
}

// A connection on which nothing arrives is replaced.
func TestPublisherPingSilentConnection(t *testing.T) {
	t.Parallel() // it waits
	b, proxy := newProxiedBroker(t)
	b.queue(t, topic, nil)
	p := b.publisher(t)
	wantPublished(t, publishSoon(t, p, newMessages(topic, 1)))
	proxy.Silence()
	if err := p.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "says nothing") {
		t.Errorf("got error %v", err)
	}
	awaitHealth(t, p, "says nothing")
	proxy.Restore()
	wantPublished(t, publishSoon(t, p, newMessages(topic, 1)))
}
