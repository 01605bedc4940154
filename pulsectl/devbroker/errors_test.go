package devbroker_test

import (
	"cmp"
	"context"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// refusal is something that the broker refuses. The texts are RabbitMQ's; the test runs against it as well.
type refusal struct {
	name   string
	do     func(s *session, queue string) error // queue has a TTL of 1000 ms and the dead-letter exchange "a"
	code   int                                  // 0: it is accepted
	reason string                               // with %q for the queue
	conn   bool                                 // the connection is closed, not only the channel
}

func declare(name string, durable, autoDelete, exclusive bool, args amqp.Table) func(*session, string) error {
	return func(s *session, queue string) error {
		_, err := s.ch.QueueDeclare(cmp.Or(name, queue), durable, autoDelete, exclusive, false, args)
		return err
	}
}

func again(args amqp.Table) func(*session, string) error {
	return declare("", true, false, false, args)
}

func fresh(args amqp.Table) func(*session, string) error {
	return func(s *session, queue string) error {
		err := declare("devbroker.never", true, false, false, args)(s, queue)
		if err == nil {
			_, err = s.ch.QueueDelete("devbroker.never", false, false, false)
		}
		return err
	}
}

func publishing(exchange string, immediate bool, p amqp.Publishing) func(*session, string) error {
	return func(s *session, queue string) error {
		return s.ch.PublishWithContext(context.Background(), exchange, queue, false, immediate, p)
	}
}

const (
	inequivalentArg = "PRECONDITION_FAILED - inequivalent arg "
	invalidArg      = "PRECONDITION_FAILED - invalid arg "
	neverQueue      = "queue 'devbroker.never' in vhost '/'"
	defaultExchange = "ACCESS_REFUSED - operation not permitted on the default exchange"
)

var refusals = []refusal{
	{"the same again", again(amqp.Table{"x-message-ttl": int64(1000), "x-dead-letter-exchange": "a", "x-unknown": "b"}), 0, "", false},
	{"the same with its type", again(amqp.Table{"x-message-ttl": int32(1000), "x-dead-letter-exchange": "a", "x-queue-type": "classic"}), 0, "", false},
	{"reserved queue name", declare("amq.x", true, false, false, nil), 403, "ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix 'amq.*'", false},
	{"durable differs", declare("", false, false, false, nil), 406, inequivalentArg + "'durable' for queue %q: received 'false' but current is 'true'", false},
	{"auto-delete differs", declare("", true, true, false, nil), 406, inequivalentArg + "'auto_delete' for queue %q: received 'true' but current is 'false'", false},
	{"exclusive differs", declare("", true, false, true, nil), 405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue %q. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.", false},
	{"an argument less", again(amqp.Table{"x-dead-letter-exchange": "a"}), 406, inequivalentArg + "'x-message-ttl' for queue %q: received none but current is the value '1000' of type 'signedint'", false},
	{"an argument differs", again(amqp.Table{"x-message-ttl": int64(2000), "x-dead-letter-exchange": "a"}), 406, inequivalentArg + "'x-message-ttl' for queue %q: received '2000' but current is '1000'", false},
	{"an argument more", again(amqp.Table{"x-message-ttl": int64(1000), "x-dead-letter-exchange": "a", "x-max-length": int64(5)}), 406, inequivalentArg + "'x-max-length' for queue %q: received the value '5' of type 'long' but current is none", false},
	{"another type", again(amqp.Table{"x-message-ttl": int64(1000), "x-dead-letter-exchange": "a", "x-queue-type": "quorum"}), 406, inequivalentArg + "'x-queue-type' for queue %q: received the value 'quorum' of type 'longstr' but current is none", false},
	{"negative TTL", fresh(amqp.Table{"x-message-ttl": int64(-1)}), 406, invalidArg + "'x-message-ttl' for " + neverQueue + ": {value_negative,-1}", false},
	{"TTL in words", fresh(amqp.Table{"x-message-ttl": "5"}), 406, invalidArg + "'x-message-ttl' for " + neverQueue + ": \"expected integer, got longstr\"", false},
	{"no time to expire", fresh(amqp.Table{"x-expires": int32(0)}), 406, invalidArg + "'x-expires' for " + neverQueue + ": {value_zero,0}", false},
	{"priority beyond what there is", fresh(amqp.Table{"x-max-priority": int32(256)}), 406, invalidArg + "'x-max-priority' for " + neverQueue + ": {max_value_exceeded,256}", false},
	{"unknown overflow", fresh(amqp.Table{"x-overflow": "foo"}), 406, invalidArg + "'x-overflow' for " + neverQueue + ": invalid_overflow", false},
	{"overflow of another kind", fresh(amqp.Table{"x-overflow": int32(1)}), 406, invalidArg + "'x-overflow' for " + neverQueue + ": {unacceptable_type,signedint}", false},
	{"dead-letter key alone", fresh(amqp.Table{"x-dead-letter-routing-key": "foo"}), 406, invalidArg + "'x-dead-letter-routing-key' for " + neverQueue + ": routing_key_but_no_dlx_defined", false},
	{"dead-letter exchange of another kind", fresh(amqp.Table{"x-dead-letter-exchange": int32(1)}), 406, "PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in " + neverQueue, false},
	{"unknown type", fresh(amqp.Table{"x-queue-type": "foo"}), 406, invalidArg + "'x-queue-type' for " + neverQueue + ": \"unsupported queue type 'foo'\"", false},
	{"type of another kind", fresh(amqp.Table{"x-queue-type": int32(1)}), 406, invalidArg + "'x-queue-type' for " + neverQueue + ": {unacceptable_type,signedint}", false},
	{"single active consumer of another kind", fresh(amqp.Table{"x-single-active-consumer": "yes"}), 406, invalidArg + "'x-single-active-consumer' for " + neverQueue + ": {unacceptable_type,longstr}", false},
	{"negative length", fresh(amqp.Table{"x-max-length": int32(-3)}), 406, invalidArg + "'x-max-length' for " + neverQueue + ": {value_negative,-3}", false},
	{"delivery limit on a classic queue", fresh(amqp.Table{"x-delivery-limit": int32(3)}), 406, invalidArg + "'x-delivery-limit' for " + neverQueue + " of queue type rabbit_classic_queue", false},
	{"dead-letter strategy on a classic queue", fresh(amqp.Table{"x-dead-letter-strategy": "at-least-once"}), 406, invalidArg + "'x-dead-letter-strategy' for " + neverQueue + " of queue type rabbit_classic_queue", false},
	{"priorities on a quorum queue", fresh(amqp.Table{"x-queue-type": "quorum", "x-max-priority": int32(3)}), 406, invalidArg + "'x-max-priority' for " + neverQueue + " of queue type rabbit_quorum_queue", false},
	{"transient quorum queue", declare("devbroker.never", false, false, false, amqp.Table{"x-queue-type": "quorum"}), 406, "PRECONDITION_FAILED - invalid property 'non-durable' for " + neverQueue, false},
	{"exclusive quorum queue", declare("devbroker.never", true, false, true, amqp.Table{"x-queue-type": "quorum"}), 406, "PRECONDITION_FAILED - invalid property 'exclusive-owner' for " + neverQueue, false},
	{"auto-deleted quorum queue", declare("devbroker.never", true, true, false, amqp.Table{"x-queue-type": "quorum"}), 406, "PRECONDITION_FAILED - invalid property 'auto-delete' for " + neverQueue, false},
	{"ten years", fresh(amqp.Table{"x-message-ttl": int64(315_360_000_000)}), 0, "", false},
	{"more than ten years", fresh(amqp.Table{"x-expires": int64(315_360_000_001)}), 406, invalidArg + "'x-expires' for " + neverQueue + ": {value_too_large,315360000001}", false},
	{"fraction of a TTL", fresh(amqp.Table{"x-message-ttl": 1.5}), 406, invalidArg + "'x-message-ttl' for " + neverQueue + ": \"expected integer, got double\"", false},
	{"unknown mode", fresh(amqp.Table{"x-queue-mode": "fast"}), 406, invalidArg + "'x-queue-mode' for " + neverQueue + ": \"unsupported queue mode 'fast'\"", false},
	{"mode of another kind", fresh(amqp.Table{"x-queue-mode": int32(5)}), 406, invalidArg + "'x-queue-mode' for " + neverQueue + ": {unacceptable_type,signedint}", false},
	{"unknown version", fresh(amqp.Table{"x-queue-version": int32(3)}), 406, invalidArg + "'x-queue-version' for " + neverQueue + ": \"unsupported queue version '3'\"", false},
	{"dead-letter key of another kind", fresh(amqp.Table{"x-dead-letter-exchange": "a", "x-dead-letter-routing-key": int32(1)}), 406, invalidArg + "'x-dead-letter-routing-key' for " + neverQueue + ": {unacceptable_type,signedint}", false},
	{"unknown dead-letter strategy", fresh(amqp.Table{"x-queue-type": "quorum", "x-dead-letter-strategy": "never"}), 406, invalidArg + "'x-dead-letter-strategy' for " + neverQueue + ": invalid_dlx_strategy", false},
	{"leader of a classic queue", fresh(amqp.Table{"x-queue-leader-locator": "random"}), 406, invalidArg + "'x-queue-leader-locator' for " + neverQueue + " of queue type rabbit_classic_queue", false},
	{"unknown leader", fresh(amqp.Table{"x-queue-type": "quorum", "x-queue-leader-locator": "me"}), 406, invalidArg + "'x-queue-leader-locator' for " + neverQueue + ": invalid_queue_locator_arg", false},
	{"empty group", fresh(amqp.Table{"x-queue-type": "quorum", "x-quorum-initial-group-size": int32(0)}), 406, invalidArg + "'x-quorum-initial-group-size' for " + neverQueue + ": {value_zero,0}", false},
	{"a stream's age on a classic queue", fresh(amqp.Table{"x-max-age": "1D"}), 406, invalidArg + "'x-max-age' for " + neverQueue + " of queue type rabbit_classic_queue", false},
	{"a length in words instead", again(amqp.Table{"x-message-ttl": "1000", "x-dead-letter-exchange": "a"}), 406, inequivalentArg + "'x-message-ttl' for queue %q: received '1000' but current is '1000'", false},
	{"passive, missing", func(s *session, _ string) error {
		_, err := s.ch.QueueDeclarePassive("devbroker.never", true, false, false, false, nil)
		return err
	}, 404, "NOT_FOUND - no " + neverQueue, false},

	{"bind to the default exchange", func(s *session, q string) error { return s.ch.QueueBind(q, "k", "", false, nil) }, 403, defaultExchange, false},
	{"unbind from the default exchange", func(s *session, q string) error { return s.ch.QueueUnbind(q, "k", "", nil) }, 403, defaultExchange, false},
	{"bind to a missing exchange", func(s *session, q string) error { return s.ch.QueueBind(q, "k", "nope", false, nil) }, 404, "NOT_FOUND - no exchange 'nope' in vhost '/'", false},
	{"bind a missing queue", func(s *session, _ string) error { return s.ch.QueueBind("nope", "k", "amq.topic", false, nil) }, 404, "NOT_FOUND - no queue 'nope' in vhost '/'", false},
	{"unbind what is not bound", func(s *session, q string) error { return s.ch.QueueUnbind(q, "k", "amq.topic", nil) }, 0, "", false},
	{"unbind a missing queue", func(s *session, _ string) error { return s.ch.QueueUnbind("nope", "k", "amq.topic", nil) }, 0, "", false},
	{"unbind from a missing exchange", func(s *session, q string) error { return s.ch.QueueUnbind(q, "k", "nope", nil) }, 0, "", false},
	{"unknown x-match", func(s *session, q string) error {
		return s.ch.QueueBind(q, "k", "amq.headers", false, amqp.Table{"x-match": "foo"})
	}, 406, "PRECONDITION_FAILED - Invalid x-match field value <<\"foo\">>; expected all, any, all-with-x, or any-with-x", false},
	{"x-match of another kind", func(s *session, q string) error {
		return s.ch.QueueBind(q, "k", "amq.headers", false, amqp.Table{"x-match": int32(1)})
	}, 406, "PRECONDITION_FAILED - Invalid x-match field type signedint (value 1); expected longstr", false},
	{"exchange bound to the default exchange", func(s *session, _ string) error { return s.ch.ExchangeBind("amq.topic", "k", "", false, nil) }, 403, defaultExchange, false},

	{"reserved exchange name", exchangeDeclare("amq.foo", "topic", true, nil), 403, "ACCESS_REFUSED - exchange name 'amq.foo' contains reserved prefix 'amq.*'", false},
	{"declare the default exchange", exchangeDeclare("", "direct", true, nil), 403, defaultExchange, false},
	{"declare a system exchange as it is", exchangeDeclare("amq.topic", "topic", true, nil), 0, "", false},
	{"declare a system exchange otherwise", exchangeDeclare("amq.topic", "topic", false, nil), 406, inequivalentArg + "'durable' for exchange 'amq.topic' in vhost '/': received 'false' but current is 'true'", false},
	{"another type of exchange", exchangeDeclare("amq.topic", "direct", true, nil), 406, inequivalentArg + "'type' for exchange 'amq.topic' in vhost '/': received 'direct' but current is 'topic'", false},
	{"another alternate exchange", exchangeDeclare("amq.topic", "topic", true, amqp.Table{"alternate-exchange": "foo"}), 406, inequivalentArg + "'alternate-exchange' for exchange 'amq.topic' in vhost '/': received the value 'foo' of type 'longstr' but current is none", false},
	{"alternate exchange of another kind", exchangeDeclare("devbroker.nex", "topic", true, amqp.Table{"alternate-exchange": int32(1)}), 406, "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange 'devbroker.nex' in vhost '/'", false},
	{"unknown type of exchange", exchangeDeclare("devbroker.nex", "x-of-a-plug-in", true, nil), 503, "COMMAND_INVALID - unknown exchange type 'x-of-a-plug-in'", true},
	{"missing exchange, passive", func(s *session, _ string) error {
		return s.ch.ExchangeDeclarePassive("devbroker.nex", "topic", true, false, false, false, nil)
	}, 404, "NOT_FOUND - no exchange 'devbroker.nex' in vhost '/'", false},
	{"delete a system exchange", func(s *session, _ string) error { return s.ch.ExchangeDelete("amq.topic", false, false) }, 403, "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed", false},
	{"delete the default exchange", func(s *session, _ string) error { return s.ch.ExchangeDelete("", false, false) }, 403, defaultExchange, false},
	{"delete a missing exchange", func(s *session, _ string) error { return s.ch.ExchangeDelete("devbroker.nex", false, false) }, 0, "", false},

	{"delete a missing queue", func(s *session, _ string) error { _, err := s.ch.QueueDelete("nope", false, false, false); return err }, 0, "", false},
	{"purge a missing queue", func(s *session, _ string) error { _, err := s.ch.QueuePurge("nope", false); return err }, 404, "NOT_FOUND - no queue 'nope' in vhost '/'", false},
	{"consume from a missing queue", consumeFrom("nope", false, nil), 404, "NOT_FOUND - no queue 'nope' in vhost '/'", false},
	{"stream offset on a classic queue", consumeFrom("", false, amqp.Table{"x-stream-offset": "first"}), 406, invalidArg + "'x-stream-offset' for queue %q of queue type rabbit_classic_queue", false},
	{"exclusive consumers of a quorum queue", onQuorum(func(s *session, q string) error {
		s.must(consumeFrom(q, true, nil)(s, q))
		return consumeFrom(q, true, nil)(s, q)
	}), 0, "", false},
	{"get from a quorum queue with a single active consumer", func(s *session, _ string) error {
		q := s.queueNamed("devbroker.sac", amqp.Table{"x-queue-type": "quorum", "x-single-active-consumer": true})
		_, _, err := s.ch.Get(q, true)
		return err
	}, 405, "RESOURCE_LOCKED - cannot obtain access to locked queue 'devbroker.sac' in vhost '/'. basic.get operations are not supported by quorum queues with single active consumer", false},
	{"delete a quorum queue if empty", func(s *session, _ string) error {
		q := s.queueNamed("devbroker.quorum", amqp.Table{"x-queue-type": "quorum"})
		_, err := s.ch.QueueDelete(q, false, true, false)
		return err
	}, 540, "NOT_IMPLEMENTED - cannot delete queue 'devbroker.quorum' in vhost '/'. queue.delete operations with if-empty flag set are not supported by quorum queues", true},
	{"priority in words", consumeFrom("", false, amqp.Table{"x-priority": "a"}), 406, invalidArg + "'x-priority' for queue %q: \"expected integer, got longstr\"", false},
	{"get from a missing queue", func(s *session, _ string) error { _, _, err := s.ch.Get("nope", true); return err }, 404, "NOT_FOUND - no queue 'nope' in vhost '/'", false},
	{"cancel an unknown consumer", func(s *session, _ string) error { return s.ch.Cancel("nope", false) }, 0, "", false},
	{"delete a queue in use", func(s *session, q string) error {
		s.consume(q, 1)
		_, err := s.ch.QueueDelete(q, true, false, false)
		return err
	}, 406, "PRECONDITION_FAILED - queue %q in use", false},
	{"consumer tag twice", func(s *session, q string) error {
		_, err := s.ch.Consume(q, "t", false, false, false, false, nil)
		s.must(err)
		_, err = s.ch.Consume(q, "t", false, false, false, false, nil)
		return err
	}, 530, "NOT_ALLOWED - attempt to reuse consumer tag 't'", true},
	{"join an exclusive consumer", func(s *session, q string) error {
		s.must(consumeFrom(q, true, nil)(s, q))
		return consumeFrom(q, false, nil)(s, q)
	}, 403, "ACCESS_REFUSED - queue %q in exclusive use", false},
	{"exclusive consumer among others", func(s *session, q string) error {
		s.must(consumeFrom(q, false, nil)(s, q))
		return consumeFrom(q, true, nil)(s, q)
	}, 403, "ACCESS_REFUSED - queue %q in exclusive use", false},

	{"publish to a missing exchange", publishing("nope", false, amqp.Publishing{}), 404, "NOT_FOUND - no exchange 'nope' in vhost '/'", false},
	{"publish immediate", publishing("", true, amqp.Publishing{}), 540, "NOT_IMPLEMENTED - immediate=true", true},
	{"expiration with a rest", publishing("", false, amqp.Publishing{Expiration: "5x"}), 406, "PRECONDITION_FAILED - invalid expiration '5x': {leftover_string,\"x\"}", false},
	{"expiration after more than ten years", publishing("", false, amqp.Publishing{Expiration: "315360000001"}), 406, "PRECONDITION_FAILED - invalid expiration '315360000001': {value_too_large,315360000001}", false},
	{"very long expiration", publishing("", false, amqp.Publishing{Expiration: "4294967296"}), 0, "", false},
	{"unknown delivery mode", publishing("", false, amqp.Publishing{DeliveryMode: 5}), 406, "PRECONDITION_FAILED - invalid message: {delivery_mode_unknown,5}", false},
	{"expiration in words", publishing("", false, amqp.Publishing{Expiration: "abc"}), 406, "PRECONDITION_FAILED - invalid expiration 'abc': no_integer", false},
	{"negative expiration", publishing("", false, amqp.Publishing{Expiration: "-1"}), 406, "PRECONDITION_FAILED - invalid expiration '-1': {value_negative,-1}", false},
	{"somebody else's name", publishing("", false, amqp.Publishing{UserId: "foo"}), 406, "PRECONDITION_FAILED - user_id property set to 'foo' but authenticated user was 'guest'", false},
	{"copies of another kind", publishing("", false, amqp.Publishing{Headers: amqp.Table{"CC": "foo"}}), 406, "PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}", false},

	{"stop the flow", func(s *session, _ string) error { return s.ch.Flow(false) }, 540, "NOT_IMPLEMENTED - active=false", true},
	{"let it flow", func(s *session, _ string) error { return s.ch.Flow(true) }, 0, "", false},
	//lint:ignore SA1019 deprecated, and still a part of the protocol
	{"recover without requeueing", func(s *session, _ string) error { return s.ch.Recover(false) }, 540, "NOT_IMPLEMENTED - requeue=false", true},
	{"prefetch by size", func(s *session, _ string) error { return s.ch.Qos(1, 100, false) }, 540, "NOT_IMPLEMENTED - prefetch_size!=0 (100)", true},
	{"ack what was not delivered", func(s *session, _ string) error { return s.ch.Ack(5, false) }, 406, "PRECONDITION_FAILED - unknown delivery tag 5", false},
	{"ack nothing at all", func(s *session, _ string) error { return s.ch.Ack(0, false) }, 406, "PRECONDITION_FAILED - unknown delivery tag 0", false},
	{"ack up to what was not delivered", func(s *session, _ string) error { return s.ch.Ack(7, true) }, 406, "PRECONDITION_FAILED - unknown delivery tag 7", false},
	{"ack all of nothing", func(s *session, _ string) error { return s.ch.Ack(0, true) }, 0, "", false},
}

// onQuorum does something to a quorum queue.
func onQuorum(do func(*session, string) error) func(*session, string) error {
	return func(s *session, _ string) error {
		return do(s, s.queue(amqp.Table{"x-queue-type": "quorum"}))
	}
}

func exchangeDeclare(name, kind string, durable bool, args amqp.Table) func(*session, string) error {
	return func(s *session, _ string) error {
		return s.ch.ExchangeDeclare(name, kind, durable, false, false, false, args)
	}
}

func consumeFrom(name string, exclusive bool, args amqp.Table) func(*session, string) error {
	return func(s *session, queue string) error {
		_, err := s.ch.Consume(cmp.Or(name, queue), "", false, exclusive, false, false, args)
		return err
	}
}

func TestChannelErrors(t *testing.T) {
	onBrokers(t, func(s *session) {
		for _, r := range refusals {
			r.check(s.other(), s.queue(amqp.Table{"x-message-ttl": int32(1000), "x-dead-letter-exchange": "a"}))
		}
	})
}

// unsupported are methods that RabbitMQ has and this broker refuses with 540.
var unsupported = []refusal{
	{"streams", fresh(amqp.Table{"x-queue-type": "stream"}), 540, "NOT_IMPLEMENTED - queue type 'stream' is not supported by devbroker, for " + neverQueue, true},
}

func TestUnsupportedFeatures(t *testing.T) {
	s := newSession(t, devbroker.NewTest(t).URL())
	for _, r := range unsupported {
		r.check(s.other(), "")
	}
}

func (r refusal) check(s *session, queue string) {
	s.Helper()
	channelClosed := s.ch.NotifyClose(make(chan *amqp.Error, 1))
	err := r.do(s, queue)
	if err == nil && r.code != 0 { // an answer that was not requested
		select {
		case e := <-channelClosed:
			err = e
		case <-time.After(patience):
		}
	}
	reason := ""
	if e, ok := err.(*amqp.Error); ok {
		reason = e.Reason
	}
	// Where the test has a virtual host of its own, the texts name that one.
	here := strings.NewReplacer("%q", "'"+queue+"' in vhost '"+s.conn.Config.Vhost+"'", "vhost '/'", "vhost '"+s.conn.Config.Vhost+"'")
	want := here.Replace(r.reason)
	if cut, long := strings.CutSuffix(reason, "..."); long && strings.HasPrefix(want, cut) {
		reason = want // a short string has room for 255 bytes
	}
	if code(err) != r.code || reason != want {
		s.Errorf("%s: got\n%v, want\n%d %s", r.name, err, r.code, want)
	}
	if _, err := s.conn.Channel(); (err != nil) != r.conn {
		s.Errorf("%s: next channel: %v, connection to be closed: %v", r.name, err, r.conn)
	}
}
