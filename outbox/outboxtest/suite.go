package outboxtest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/outbox"
)

// PublisherHarness connects RunPublisherSuite to a broker. Each test uses topics of
// its own, so that all tests can share one broker.
type PublisherHarness struct {
	// New returns a publisher that can be used until the test ends.
	New func(t *testing.T) outbox.Publisher
	// Bind routes messages of topic to a queue that keeps their order, until unbind is
	// called or the test ends.
	Bind func(t *testing.T, topic string) (unbind func())
	// Receive takes n messages of topic from its queue and returns them as they were
	// published, without AvailableAt. It fails the test if they do not arrive.
	Receive func(t *testing.T, topic string, n int) []outbox.Message
	// Features are optional abilities of the broker.
	Features Features
}

// Features are abilities that not every broker or test environment has. Tests that
// need a function that is nil are skipped.
type Features struct {
	// BindRefusing is like Bind, for a queue that refuses all messages until accept is
	// called.
	BindRefusing func(t *testing.T, topic string) (accept func())
	// Poison has functions, by name, that change a message so that it can never be
	// published, including changes because of which the broker closes the connection.
	Poison map[string]func(m *outbox.Message)
	// Stop makes the broker unreachable until start is called. Queues keep their
	// messages.
	Stop func(t *testing.T) (start func())
	// Block makes the broker accept no messages, without closing connections, until
	// unblock is called.
	Block func(t *testing.T) (unblock func())
	// Silence makes the broker neither confirm nor refuse messages of topic, and only
	// of that topic, until speak is called, like a queue that has lost its majority.
	Silence func(t *testing.T, topic string) (speak func())
}

// recovery is how long a publisher may take to find its broker again.
const recovery = 30 * time.Second

// RunPublisherSuite tests that a publisher does what the relay relies on. Every
// implementation of outbox.Publisher should pass it.
func RunPublisherSuite(t *testing.T, h PublisherHarness) {
	for _, c := range []struct {
		name string
		test func(*testing.T, PublisherHarness)
	}{
		{"NothingToPublish", testNothing},
		{"EverythingArrivesAsItWas", testRoundTrip},
		{"OrderIsKept", testOrder},
		{"MessagesAreNotKept", testNotKept},
		{"SameMessageTwice", testTwice},
		{"ManyAtOnce", testConcurrent},
		{"Unroutable", testUnroutable},
		{"UnroutableAmongOthers", testUnroutableAmongOthers},
		{"ContextEnded", testContextEnded},
		{"Refused", testRefused},
		{"Poison", testPoison},
		{"BrokerStopped", testBrokerStopped},
		{"BrokerDownAtStart", testBrokerDownAtStart},
		{"BrokerBlocks", testBrokerBlocks},
		{"SilentTopic", testSilentTopic},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, h) })
	}
}

// newTopic names a topic that nothing else uses.
func newTopic() string { return "suite." + uuid.NewString() }

func newMessages(topic string, n int) []outbox.Message {
	msgs := make([]outbox.Message, n)
	for i := range msgs {
		msgs[i] = outbox.NewMessage(topic, fmt.Appendf(nil, `{"n":%d}`, i))
		msgs[i].Type = topic
		msgs[i].ContentType = "application/json"
		msgs[i].Seq = int64(i + 1)
		msgs[i].OccurredAt = time.Now().UTC().Truncate(time.Microsecond)
	}
	return msgs
}

// publish checks the one thing that holds for every answer: its length.
func publish(t *testing.T, p outbox.Publisher, msgs []outbox.Message) []error {
	t.Helper()
	results := p.Publish(t.Context(), msgs)
	if len(results) != len(msgs) {
		t.Fatalf("Publish answered %d results for %d messages", len(results), len(msgs))
	}
	return results
}

func mustPublish(t *testing.T, p outbox.Publisher, msgs []outbox.Message) {
	t.Helper()
	for i, err := range publish(t, p, msgs) {
		if err != nil {
			t.Fatalf("message %d of %d: %v", i, len(msgs), err)
		}
	}
}

// eventuallyPublish publishes msgs again and again for as long as the
// publisher has no verdict on them.
func eventuallyPublish(t *testing.T, p outbox.Publisher, msgs []outbox.Message) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(recovery); ; <-tick.C {
		err := errors.Join(publish(t, p, msgs)...)
		if err == nil {
			return
		}
		if !outbox.IsUnavailable(err) || time.Now().After(deadline) {
			t.Fatalf("after the broker's return: %v", err)
		}
	}
}

func wantClass(t *testing.T, what string, err, class error) {
	t.Helper()
	if !errors.Is(err, class) {
		t.Errorf("%s: got error %v; want class %q", what, err, class)
	}
	for _, other := range []error{outbox.ErrUnavailable, outbox.ErrRejected, outbox.ErrUnroutable, outbox.ErrPermanent} {
		if other != class && errors.Is(err, other) {
			t.Errorf("%s: %v is of class %q as well", what, err, other)
		}
	}
}

// wantArrived takes len(msgs) messages off topic and compares their ids, in
// order.
func wantArrived(t *testing.T, h PublisherHarness, topic string, msgs []outbox.Message) {
	t.Helper()
	arrived := h.Receive(t, topic, len(msgs))
	if got, want := ids(arrived), ids(msgs); !slices.Equal(got, want) {
		t.Errorf("arrived %v, want %v", got, want)
	}
}

func ids(msgs []outbox.Message) []uuid.UUID {
	list := make([]uuid.UUID, len(msgs))
	for i, m := range msgs {
		list[i] = m.ID
	}
	return list
}
