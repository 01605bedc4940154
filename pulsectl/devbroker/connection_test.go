package devbroker_test

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestCapabilities(t *testing.T) {
	onBrokers(t, func(s *session) {
		announced, _ := s.conn.Properties["capabilities"].(amqp.Table)
		for _, capability := range []string{
			"publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify", "connection.blocked",
			"consumer_priorities", "authentication_failure_close", "per_consumer_qos", "direct_reply_to",
		} {
			if announced[capability] != true {
				s.Errorf("%s is not announced in %v", capability, announced)
			}
		}
		// Properties that clients depend on are the same; another one identifies the broker.
		for _, property := range []string{"product", "version", "platform", "cluster_name", "copyright", "information"} {
			if text, _ := s.conn.Properties[property].(string); text == "" {
				s.Errorf("no %s in %v", property, s.conn.Properties)
			}
		}
		if s.conn.Properties["product"] != "RabbitMQ" {
			s.Errorf("product %v", s.conn.Properties["product"])
		}
		if own, _ := s.conn.Properties["devbroker"].(string); (own == "") != s.real {
			s.Errorf("devbroker: %q", own)
		}
	})
}

func TestHeartbeatKeepsIdleConnection(t *testing.T) {
	onBrokers(t, func(s *session) {
		conn := s.dial(amqp.Config{Heartbeat: time.Second})
		closed := conn.NotifyClose(make(chan *amqp.Error, 1))
		s.letPass(4000)
		select {
		case e := <-closed:
			s.Fatalf("closed with %v", e)
		default:
		}
		_, err := conn.Channel()
		s.must(err)
	})
}

// muted is a connection that discards what the client sends once mute is called.
type muted struct {
	net.Conn
	mute atomic.Bool
}

func (m *muted) Write(b []byte) (int, error) {
	if m.mute.Load() {
		return len(b), nil
	}
	return m.Conn.Write(b)
}

func TestHeartbeatClosesSilentConnection(t *testing.T) {
	onBrokers(t, func(s *session) {
		q := s.queue(nil)
		s.send(q, "x")
		m := &muted{}
		conn := s.dial(amqp.Config{Heartbeat: time.Second, Dial: func(network, addr string) (nc net.Conn, err error) {
			m.Conn, err = net.Dial(network, addr)
			return m, err
		}})
		ch, err := conn.Channel()
		s.must(err)
		deliveries, err := ch.Consume(q, "", false, false, false, false, nil)
		s.must(err)
		s.next(deliveries)
		m.mute.Store(true)
		s.nextBody(s.consume(q, 1), "x")
	})
}
