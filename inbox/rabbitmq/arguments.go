package rabbitmq

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// bindings returns what leads messages to the queue.
func (c SourceConfig) bindings() (all []Binding) {
	add := func(key string, args map[string]any) {
		all = append(all, Binding{Exchange: c.Exchange, RoutingKey: key, Queue: c.Queue, Arguments: args})
	}
	switch c.ExchangeType {
	case amqp.ExchangeFanout:
		add("", nil)
	case amqp.ExchangeHeaders:
		for _, topic := range c.Topics {
			add(topic, map[string]any{argMatch: "all", wire.HeaderTopic: topic})
		}
		for _, headers := range c.MatchHeaders {
			args := map[string]any{argMatch: "all"}
			maps.Copy(args, headers)
			add("", args)
		}
	default:
		for _, topic := range c.Topics {
			add(topic, nil)
		}
	}
	return all
}

// routingProblems returns what is wrong with the exchange and the bindings.
func (c SourceConfig) routingProblems() (all []error) {
	report := func(format string, args ...any) { all = append(all, fmt.Errorf(format, args...)) }
	if problem := rabbit.ExchangeTypeProblem(c.ExchangeType); problem != "" {
		report("ExchangeType: %s", problem)
	}
	switch {
	case c.ExchangeType == amqp.ExchangeFanout && len(c.Topics) > 0:
		report("Topics: a fanout exchange passes on every message; leave them empty")
	case c.ExchangeType == amqp.ExchangeDirect || c.ExchangeType == amqp.ExchangeHeaders:
		for i, topic := range c.Topics {
			if strings.ContainsAny(topic, "*#") {
				report("Topics[%d]: %q; only a topic exchange has wildcards", i, topic)
			}
		}
	}
	if len(c.MatchHeaders) > 0 && c.ExchangeType != amqp.ExchangeHeaders {
		report("MatchHeaders: the exchange is of type %s; only one of type headers compares headers", c.ExchangeType)
	} else if len(c.MatchHeaders) > 0 && len(c.Topics) > 0 {
		report("MatchHeaders: Topics are set as well; use one of them (a topic is the header pulse-topic)")
	}
	for i, headers := range c.MatchHeaders {
		if len(headers) == 0 {
			report("MatchHeaders[%d]: is empty, and would match every message", i)
		}
		for _, name := range slices.Sorted(maps.Keys(headers)) {
			switch value := headers[name].(type) {
			case nil, string, bool, int64, float64:
				if name == argMatch && !slices.Contains(matchModes, value) {
					report("MatchHeaders[%d][%q]: %v; use all, any, all-with-x or any-with-x", i, name, value)
				}
			default:
				report("MatchHeaders[%d][%q]: a %T; use a string, bool, number or nil", i, name, value)
			}
		}
	}
	return all
}

// argumentProblems returns what is wrong with the user's own arguments.
func (c SourceConfig) argumentProblems() (all []error) {
	own := c.QueueArguments
	c.QueueArguments = nil
	set := newLayout(c, true).Queues[0].Arguments
	for _, name := range slices.Sorted(maps.Keys(own)) {
		report := func(format string, args ...any) {
			all = append(all, fmt.Errorf("QueueArguments[%q]: "+format, append([]any{name}, args...)...))
		}
		switch own[name].(type) {
		case string, bool, int64:
		default:
			report("a %T; use a string, bool or integer", own[name])
			continue
		}
		ours, isSet := set[name]
		switch {
		case isSet && reflect.DeepEqual(own[name], ours) && name != argDeliveryLimit:
		case name == argType:
			report("%v; set QueueType, which is %v", own[name], c.QueueType)
		case name == argDeliveryLimit:
			report("attempts are counted by the consumer, which has limits of its own; see the package's text")
		case isSet:
			report("%v conflicts with %v, which the source sets itself", own[name], ours)
		case name == "x-expires":
			report("the queue would vanish with the messages in it")
		case c.QueueType == Classic && lossy[name]:
			report("on a Classic queue, messages would be deleted; set QueueType to Quorum")
		}
	}
	return all
}

// lossy are arguments by which a classic queue deletes messages. (With a maximum
// length and reject-publish it would refuse what comes back from a retry queue,
// which does not keep it.)
var lossy = map[string]bool{argMaxLength: true, argMaxBytes: true, argTTL: true}

// matchModes are the values of x-match.
var matchModes = []any{"all", "any", "all-with-x", "any-with-x"}

// normalArguments returns a copy with integers as AMQP's long.
func normalArguments(args map[string]any) map[string]any {
	normal := make(map[string]any, len(args))
	for name, value := range args {
		switch v := reflect.ValueOf(value); {
		case v.IsValid() && v.CanInt():
			value = v.Int()
		case v.IsValid() && v.CanUint() && v.Uint() <= maxDelay:
			value = int64(v.Uint())
		}
		normal[name] = value
	}
	return normal
}
