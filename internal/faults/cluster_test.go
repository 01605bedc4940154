package faults_test

import (
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// F30: a RabbitMQ cluster of three, of which the clients know all addresses, loses
// the node that leads the queue, another one, and then two of three, under load.
func TestF30ClusterLosesNodes(t *testing.T) {
	long(t)
	t.Parallel()
	nodes := testenv.RabbitMQCluster(t, 3)
	s := newSystem(t, clusterURL(nodes))
	consumer := s.startNotifications()
	orders := s.startOrders()
	load := startSlowLoad(t, orders.url)
	applied := func(what string, more int) {
		t.Helper()
		begun := time.Now()
		s.awaitApplied(more)
		t.Logf("%s: %d more were applied within %v", what, more, time.Since(begun).Round(time.Millisecond))
	}
	healthy := func() {
		t.Helper()
		testenv.Eventually(t, patience, "relay and consumer to run", func() bool {
			return orders.health(t).Relay.State == "running" && consumer.health(t).Consumer.State == "running"
		})
	}
	applied("three nodes", 20)

	for _, which := range []string{"leader", "follower"} {
		at := nodes[0].LeaderOf(s.queue, nodes)
		if which == "follower" {
			at = (at + 1) % len(nodes)
		}
		nodes[at].Kill()
		applied(which+" killed", 30) // two of three suffice
		if h := orders.health(t); h.Status != "ready" {
			t.Errorf("%s killed: orders are %+v", which, h)
		}
		nodes[at].Start()
		applied(which+" back", 10)
		healthy()
	}

	before := s.requireOnlyRefused()
	last := nodes[0].LeaderOf(s.queue, nodes) // which has all that is confirmed, and can confirm nothing alone
	others := []*testenv.Server{nodes[(last+1)%3], nodes[(last+2)%3]}
	for _, node := range others {
		node.Kill()
	}
	s.awaitCount(20, s.ordersDB, `outbox_messages WHERE status = 'pending'`)
	load.await(10)
	testenv.Eventually(t, patience, "the relay to say that nothing is confirmed", func() bool {
		h := orders.health(t)
		return h.Status == "ready" && h.Relay.State == "degraded" && h.Relay.LastError != ""
	})
	if h := consumer.health(t); h.Status != "ready" {
		t.Errorf("without a majority: the consumer's service is %+v", h)
	}
	load.await(500) // ten a second: after half a minute RabbitMQ refuses what it has got first
	if all := s.attempts(); len(all) > before {
		t.Errorf("without a majority attempts were counted: %+v", all[before:])
	}
	t.Logf("without a majority: relay %+v, consumer %+v", orders.health(t).Relay, consumer.health(t).Consumer)
	for _, node := range others {
		node.Start()
	}
	applied("majority back", 30)
	healthy()
	s.requireKept(load.end(), consumer)
	s.requireOnlyRefused()
}

// requireOnlyRefused returns how many attempts were counted, and checks that each is a
// refusal. RabbitMQ refuses the first message of a channel at once while the leader
// of its queue is gone and not yet replaced; AMQP does not say why.
func (s *system) requireOnlyRefused() int {
	s.t.Helper()
	all := s.attempts()
	for _, a := range all {
		if a.Status != string(outbox.Pending) || !strings.Contains(a.Error, "nacked") {
			s.t.Errorf("an attempt was counted that RabbitMQ has not refused: %+v", a)
		}
	}
	s.t.Logf("%d attempts were counted", len(all))
	return len(all)
}

// F30: the queue of a consumer that has nothing to do loses its majority, while the node
// that the consumer is connected to stays: the broker ends neither connection nor
// subscription.
func TestF30ConsumerOfDeadQueue(t *testing.T) {
	long(t)
	t.Parallel()
	nodes := testenv.RabbitMQCluster(t, 3)
	s := newSystem(t, clusterURL(nodes))
	consumer := s.startNotifications()
	orders := s.startOrders()
	state := func(want string) func() bool {
		return func() bool {
			h := consumer.health(t)
			if h.Status != "ready" {
				t.Errorf("the consumer's service is %+v", h)
			}
			return h.Consumer.State == want && (want == "running" || strings.Contains(h.Consumer.LastError, "the queue does not answer"))
		}
	}
	for _, survivor := range []string{"leader", "follower"} {
		testenv.Eventually(t, patience, "the consumer to run", state("running"))
		at := nodes[0].LeaderOf(s.queue, nodes)
		if survivor == "follower" {
			at = (at + 1) % len(nodes)
		}
		lost := time.Now()
		for _, i := range []int{1, 2} {
			nodes[(at+i)%len(nodes)].Kill()
		}
		testenv.Eventually(t, patience, "the consumer to say that its queue does not answer", state("degraded"))
		t.Logf("the %s is left: %v after the others were killed, health is %+v", survivor, time.Since(lost).Round(time.Second), consumer.health(t).Consumer)
		for _, i := range []int{1, 2} {
			nodes[(at+i)%len(nodes)].Start()
		}
		testenv.Eventually(t, patience, "the consumer to run again", state("running"))
	}
	load := startSlowLoad(t, orders.url)
	s.awaitApplied(20)
	s.requireUnhurt(load.end(), consumer)
}
