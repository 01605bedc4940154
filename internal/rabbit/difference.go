package rabbit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Difference is an argument of a queue that is not as it should be; nil stands
// for one that is not set. Policies do not show.
type Difference struct {
	Argument   string
	Want, Have any // string, bool or int64
}

func (d Difference) String() string {
	return fmt.Sprintf("%s is %s instead of %s", d.Argument, shown(d.Have), shown(d.Want))
}

func shown(value any) string {
	switch value := value.(type) {
	case nil:
		return "not set"
	case string:
		return strconv.Quote(value)
	}
	return fmt.Sprint(value)
}

// String describes q for whoever has to create it.
func (q Queue) String() string {
	return fmt.Sprintf("queue %q (durable, arguments %s)", q.Name, argumentsText(q.Args))
}

// argumentsText is JSON, sorted by name.
func argumentsText(args amqp.Table) string {
	text, err := json.Marshal(map[string]any(args))
	if err != nil {
		return fmt.Sprint(args)
	}
	return string(text)
}

// CompareQueue returns what of the existing queue q.Name differs from q. AMQP
// has no such question. It is asked by declaring the queue once more: the broker
// refuses, naming the first difference, and the next declaration adopts that,
// until none is left. (RabbitMQ logs each refusal as an error.)
//
// The error is an ErrTopology where there is no such queue, an ErrAccess for a
// user that may not configure it.
func (c *Conn) CompareQueue(ctx context.Context, q Queue) ([]Difference, error) {
	args := maps.Clone(q.Args)
	if args == nil {
		args = amqp.Table{}
	}
	args[guard] = "1D"
	var found []Difference
	for range 2*len(args) + 20 { // RabbitMQ compares some 15 arguments
		err := c.onChannel(ctx, func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(q.Name, true, false, false, false, args)
			return err
		})
		if err == nil {
			return found, nil
		}
		var reply *amqp.Error
		if !errors.As(err, &reply) || reply.Code != amqp.PreconditionFailed {
			return nil, explainTopology(Declare, q.String(), err)
		}
		d, ok := readDifference(reply.Reason, args)
		switch {
		case !ok:
			return nil, fmt.Errorf("compare %v: %w", q, err)
		case d.Argument == guard && d.Have == nil:
			return nil, fmt.Errorf("%w: %v is missing", ErrTopology, q)
		}
		d.Want = normal(q.Args[d.Argument])
		found = append(found, d)
		if fixedProperties[d.Argument] || d.Argument == guard { // the latter of a stream
			return found, nil
		}
		if d.Have == nil {
			delete(args, d.Argument)
		} else {
			args[d.Argument] = d.Have
		}
	}
	return nil, fmt.Errorf("compare %v: no end of differences: %v", q, found)
}

// guard is an argument that RabbitMQ refuses where a declaration would create a
// queue, since only streams have it, and does not compare on a queue that exists.
const guard = "x-max-age"

// fixedProperties are compared like arguments and are none.
var fixedProperties = map[string]bool{"durable": true, "auto_delete": true, "exclusive": true}

// What RabbitMQ answers to a declaration that differs:
//
//	inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received none but current is the value '5000' of type 'long'
//	inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but current is 'classic'
//	invalid arg 'x-dead-letter-strategy' for queue 'q' in vhost '/' of queue type rabbit_classic_queue
var (
	inequivalent = regexp.MustCompile(`inequivalent arg '([^']+)' for .* but current is (none|the value '(.*)' of type '([a-z]+)'|'(.*)')`)
	invalid      = regexp.MustCompile(`invalid arg '([^']+)' for .* of queue type `)
)

// readDifference reads the broker's answer to a declaration with args.
func readDifference(answer string, args amqp.Table) (Difference, bool) {
	if m := invalid.FindStringSubmatch(answer); m != nil {
		_, sent := args[m[1]]
		return Difference{Argument: m[1]}, sent
	}
	m := inequivalent.FindStringSubmatch(answer)
	if m == nil {
		return Difference{}, false
	}
	d := Difference{Argument: m[1]}
	switch {
	case m[2] == "none":
		_, sent := args[d.Argument]
		return d, sent
	case m[4] != "":
		d.Have = typed(m[3], m[4] != "longstr")
	default: // of the type that was sent
		_, isText := args[d.Argument].(string)
		d.Have = typed(m[5], !isText)
	}
	return d, true
}

// typed reads a value out of an answer.
func typed(text string, scalar bool) any {
	if scalar {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
		if b, err := strconv.ParseBool(text); err == nil {
			return b
		}
	}
	return text
}

func normal(value any) any {
	switch n := value.(type) {
	case int:
		return int64(n)
	case int32:
		return int64(n)
	}
	return value
}
