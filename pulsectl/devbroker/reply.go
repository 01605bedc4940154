package devbroker

import (
	"crypto/rand"
	"encoding/base64"
	"strings"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// Direct reply-to: a client consumes from the pseudo-queue replyTo and
// publishes requests with that name in reply_to, which the broker replaces by a
// name that leads back to the client's channel. Replies are published to that
// name through the default exchange, without a queue: a reply without a
// receiver is dropped.

const (
	replyTo       = "amq.rabbitmq.reply-to"
	replyToPrefix = replyTo + "."
	// replyBacklog is how much may wait to be sent to a client that does not
	// read before replies to it are dropped.
	replyBacklog = 64 << 20
)

// replyConsumer is the subscription of a channel to its replies. The broker's lock guards it.
type replyConsumer struct {
	tag  string
	name string // the name that leads here
}

// consumeReplies subscribes the channel to its replies.
func (b *Broker) consumeReplies(ch *channel, m *wire.BasicConsume) error {
	switch {
	case ch.consumers[m.ConsumerTag] != nil:
		return notAllowed("attempt to reuse consumer tag '%s'", m.ConsumerTag)
	case !m.NoAck:
		return preconditionFailed("reply consumer cannot acknowledge")
	case ch.replies != nil:
		return preconditionFailed("reply consumer already set")
	}
	if err := b.reserve(consumerOverhead); err != nil {
		return err
	}
	if m.ConsumerTag == "" {
		m.ConsumerTag = generatedTag()
	}
	ch.replies = &replyConsumer{tag: m.ConsumerTag, name: replyName()}
	b.replies[ch.replies.name] = ch
	if !m.NoWait {
		ch.send(&wire.BasicConsumeOk{ConsumerTag: ch.replies.tag})
	}
	return nil
}

// replyName returns a name that cannot be guessed, in RabbitMQ's format: the
// channel's process and a key.
func replyName() string {
	var channel, key [24]byte
	_, _ = rand.Read(channel[:])
	_, _ = rand.Read(key[:16])
	return replyToPrefix + base64.StdEncoding.EncodeToString(channel[:]) + "." + base64.StdEncoding.EncodeToString(key[:16])
}

// endReplies ends the channel's subscription to its replies, if there is one.
func (b *Broker) endReplies(ch *channel) {
	if ch.replies != nil {
		delete(b.replies, ch.replies.name)
		b.memory.Add(-consumerOverhead)
		ch.replies = nil
	}
}

// declareReplyQueue reports whether a name leads to a channel. Every
// declaration of such a name is passive.
func (b *Broker) declareReplyQueue(ch *channel, name string) (wire.Method, error) {
	if name != replyTo && b.replies[name] == nil {
		return nil, notFound("no %s", ch.conn.vhost.queueName(name))
	}
	ch.lastQueue = name
	return &wire.QueueDeclareOk{Queue: name, ConsumerCount: 1}, nil
}

// addressReply sets the name that leads back to the channel in a request.
func (ch *channel) addressReply(m *message) error {
	if ch.replies == nil {
		return preconditionFailed("fast reply consumer does not exist")
	}
	props, err := wire.ParseProperties(m.props)
	if err != nil {
		return syntaxError("%v", err)
	}
	props.ReplyTo = &ch.replies.name
	m.props = props.Append(nil)
	return nil
}

// deliverReplies sends a message to those of its routing keys that lead to a
// channel. Such keys do not count as routes.
func (b *Broker) deliverReplies(m *message, keys []string) {
	for _, key := range keys {
		if !strings.HasPrefix(key, replyToPrefix) {
			continue
		}
		ch := b.replies[key]
		if ch == nil || ch.conn.silenced || ch.conn.out.waiting() > replyBacklog {
			continue
		}
		ch.conn.out.content(ch.id, &wire.BasicDeliver{
			ConsumerTag: ch.replies.tag, DeliveryTag: ch.lastTag + 1, Exchange: m.exchange, RoutingKey: m.key,
		}, m.props, m.body)
	}
}
