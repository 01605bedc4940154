package devbroker

import (
	"slices"
	"strings"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// exchange routes messages to queues and other exchanges. The broker's lock guards it.
type exchange struct {
	vhost                         *virtualHost
	name, kind                    string
	durable, autoDelete, internal bool
	arguments                     wire.Table
	alternate                     string // exchange for unroutable messages; "" for none
	bindings                      []*binding
	byKey                         map[string][]*binding // for exchanges that compare whole keys
	incoming                      int                   // number of bindings to this exchange
	routed                        uint64                // the last routing pass that visited it
}

// binding leads from an exchange to a queue or to another exchange.
type binding struct {
	source    *exchange
	queue     *queue    // nil if it leads to an exchange
	exchange  *exchange // nil if it leads to a queue
	key       string
	words     []string // the key's, for topic exchanges
	arguments wire.Table
}

// predeclared are the exchanges of every virtual host.
func predeclared(v *virtualHost) map[string]*exchange {
	exchanges := make(map[string]*exchange)
	for name, kind := range map[string]string{
		"": "direct", "amq.direct": "direct", "amq.fanout": "fanout", "amq.topic": "topic",
		"amq.headers": "headers", "amq.match": "headers", "amq.rabbitmq.trace": "topic",
	} {
		exchanges[name] = newExchange(v, name, kind)
		exchanges[name].durable = true
		exchanges[name].internal = name == "amq.rabbitmq.trace"
	}
	return exchanges
}

func newExchange(v *virtualHost, name, kind string) *exchange {
	return &exchange{vhost: v, name: name, kind: kind, byKey: make(map[string][]*binding)}
}

// reserved reports whether a name is reserved for the broker.
func reserved(name string) bool { return strings.HasPrefix(name, "amq.") }

// durable reports whether the binding survives a restart.
func (b *binding) durable() bool {
	if b.queue != nil {
		return b.source.durable && b.queue.stored()
	}
	return b.source.durable && b.exchange.durable
}

func (b *binding) same(o *binding) bool {
	return b.source == o.source && b.queue == o.queue && b.exchange == o.exchange && b.key == o.key &&
		sameField(b.arguments, o.arguments)
}

func (x *exchange) find(b *binding) *binding {
	for _, existing := range x.byKey[b.key] {
		if existing.same(b) {
			return existing
		}
	}
	return nil
}

// bind adds a binding, prepared for matching.
func (x *exchange) bind(b *binding) {
	if x.kind == "topic" {
		b.words = splitWords(nil, b.key)
	}
	if b.exchange != nil {
		b.exchange.incoming++
	}
	x.bindings = append(x.bindings, b)
	x.byKey[b.key] = append(x.byKey[b.key], b)
}

func (x *exchange) unbind(b *binding) {
	if b.exchange != nil {
		b.exchange.incoming--
	}
	is := func(o *binding) bool { return o == b }
	x.bindings = slices.DeleteFunc(x.bindings, is)
	if x.byKey[b.key] = slices.DeleteFunc(x.byKey[b.key], is); len(x.byKey[b.key]) == 0 {
		delete(x.byKey, b.key)
	}
}

// checkBinding returns an error for arguments that the exchange does not
// support.
func (x *exchange) checkBinding(args wire.Table) error {
	if x.kind != "headers" {
		return nil
	}
	match, given := args["x-match"]
	if !given {
		return nil
	}
	switch match := match.(type) {
	case nil:
		return preconditionFailed("Invalid x-match field type void (value undefined); expected longstr")
	case string:
		if !slices.Contains([]string{"all", "any", "all-with-x", "any-with-x"}, match) {
			return preconditionFailed("Invalid x-match field value <<\"%s\">>; expected all, any, all-with-x, or any-with-x", match)
		}
	default:
		return preconditionFailed("Invalid x-match field type %s (value %v); expected longstr", fieldType(match), match)
	}
	return nil
}

// router finds the queues for a message. It is reused for all messages, with
// the broker's lock held.
type router struct {
	exchanges map[string]*exchange
	queues    map[string]*queue
	found     []*queue
	words     []string
	pass      uint64 // marks visited exchanges and queues
}

// route returns the queues for a message published to x with these keys, each
// once, in the order found. The result is valid until the next call. headers
// are the entries of the message's header table.
func (r *router) route(x *exchange, keys []string, headers []byte) []*queue {
	r.pass++
	r.found = r.found[:0]
	for _, key := range keys {
		if x.name == "" {
			if q := r.queues[key]; q != nil {
				r.add(q)
			}
			continue
		}
		r.words = splitWords(r.words[:0], key)
		r.visit(x, key, headers)
		// Another key may take another way through exchanges already visited.
		if len(keys) > 1 {
			r.pass++
			for _, q := range r.found {
				q.routed = r.pass
			}
		}
	}
	return r.found
}

func (r *router) add(q *queue) {
	if q.routed != r.pass {
		q.routed = r.pass
		r.found = append(r.found, q)
	}
}

func (r *router) visit(x *exchange, key string, headers []byte) {
	if x.routed == r.pass {
		return
	}
	x.routed = r.pass
	matched := false
	follow := func(b *binding) {
		matched = true
		if b.queue != nil {
			r.add(b.queue)
		} else {
			r.visit(b.exchange, key, headers)
		}
	}
	switch x.kind {
	case "direct":
		for _, b := range x.byKey[key] {
			follow(b)
		}
	case "fanout":
		for _, b := range x.bindings {
			follow(b)
		}
	case "topic":
		for _, b := range x.bindings {
			if topicMatches(b.words, r.words) {
				follow(b)
			}
		}
	case "headers":
		table, _ := wire.DecodeTable(headers) // was checked at publish
		for _, b := range x.bindings {
			if headersMatch(b.arguments, table) {
				follow(b)
			}
		}
	}
	if !matched && x.alternate != "" {
		if alternate := r.exchanges[x.alternate]; alternate != nil {
			r.visit(alternate, key, headers)
		}
	}
}

// splitWords appends the words of a key to dst. An empty key has none.
func splitWords(dst []string, key string) []string {
	if key == "" {
		return dst
	}
	for {
		word, rest, more := strings.Cut(key, ".")
		dst = append(dst, word)
		if !more {
			return dst
		}
		key = rest
	}
}

// topicMatches reports whether the words of a routing key match a pattern, in
// which "*" matches one word and "#" any number. As in matching file names,
// backtracking to the last "#" is enough, so that the time is limited by the
// product of the lengths.
func topicMatches(pattern, words []string) bool {
	p, w := 0, 0
	hash, resume := -1, 0
	for w < len(words) {
		switch {
		case p < len(pattern) && pattern[p] == "#":
			hash, resume = p, w
			p++
		case p < len(pattern) && (pattern[p] == "*" || pattern[p] == words[w]):
			p++
			w++
		case hash >= 0:
			resume++
			p, w = hash+1, resume
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == "#" {
		p++
	}
	return p == len(pattern)
}

// headersMatch reports whether a message's headers match a binding's arguments.
// An argument without value only requires the header to exist; "x-" arguments
// count if x-match ends in "-with-x".
func headersMatch(args, headers wire.Table) bool {
	mode, _ := args["x-match"].(string)
	kind, withX := strings.CutSuffix(mode, "-with-x")
	anyMatched, allMatched := false, true
	for key, want := range args {
		if key == "x-match" || !withX && strings.HasPrefix(key, "x-") {
			continue
		}
		have, ok := headers[key]
		if ok && (want == nil || fieldClass(have) == fieldClass(want) && sameField(have, want)) {
			anyMatched = true
		} else {
			allMatched = false
		}
	}
	if kind == "any" {
		return anyMatched
	}
	return allMatched
}
