package inbox

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/outbox/wire"
)

// Mux hands each message to the handler of its type, or of its topic. Its
// method Handle is the Handler of a Consumer:
//
//	mux := inbox.NewMux(inbox.MuxConfig{})
//	mux.HandleType("OrderCreated", inbox.JSON(notify))
//	mux.HandleTopic("payment.#", audit, inbox.RouteConfig{MaxAttempts: 3})
//	consumer, err := inbox.NewConsumer(in, source, mux.Handle, inbox.ConsumerConfig{})
//
// Register routes before the consumer runs; Handle is then safe for concurrent
// use.
type Mux struct {
	cfg        MuxConfig
	middleware []Middleware
	types      map[string]muxRoute
	topics     []topicRoute
	upcasters  map[versioned]Upcaster

	mu      sync.Mutex
	ignored map[string]int64
}

// Middleware wraps a handler, to do something before and after it.
type Middleware func(Handler) Handler

// MuxConfig are the settings of a Mux.
type MuxConfig struct {
	// Unknown says what becomes of messages for which there is no route.
	// Defaults to DeadLetterUnknown.
	Unknown UnknownPolicy
	// Contracts check what upcasters return, so that the handlers get what the newer
	// contract promises; ConsumerConfig.Contracts check what arrives. Defaults to
	// none.
	Contracts wire.Contracts
}

// UnknownPolicy says what becomes of a message for which a Mux has no route.
type UnknownPolicy int

// The policies.
const (
	// DeadLetterUnknown sends it to the dead letters at once, with
	// ReasonUnknownType: nothing is lost, and somebody will notice.
	DeadLetterUnknown UnknownPolicy = iota
	// IgnoreUnknown marks it as applied without effect, and counts it; see
	// Mux.Ignored. For consumers of a queue that gets more than they want.
	IgnoreUnknown
)

// RouteConfig are settings of one route, in place of the consumer's. Zero
// values leave it to the consumer.
type RouteConfig struct {
	// MaxAttempts is the number of failures after which a message of this route
	// is dead-lettered; Unlimited retries for ever.
	MaxAttempts int
	// Backoff is the wait after the given number of failures, from 1.
	Backoff func(failures int) time.Duration
	// Timeout ends the handler's context. What is more than
	// ConsumerConfig.HandlerTimeout has no effect.
	Timeout time.Duration
}

// muxRoute is a handler as it was registered, and with middleware and settings.
type muxRoute struct{ bare, handler Handler }

type topicRoute struct {
	pattern string
	words   []string
	muxRoute
}

// NewMux returns a Mux without routes. It panics on a policy that is not
// defined, as the registration of routes does on mistakes: they are the
// program's, and known at its start.
func NewMux(cfg MuxConfig) *Mux {
	if cfg.Unknown != DeadLetterUnknown && cfg.Unknown != IgnoreUnknown {
		panic(fmt.Sprintf("inbox: mux: Unknown: %d is no policy", cfg.Unknown))
	}
	return &Mux{cfg: cfg, types: make(map[string]muxRoute), upcasters: make(map[versioned]Upcaster), ignored: make(map[string]int64)}
}

// Use adds middleware around the handlers of routes that are registered
// afterwards. The first added is the outermost.
func (m *Mux) Use(middleware ...Middleware) { m.middleware = append(m.middleware, middleware...) }

// HandleType registers the handler of messages whose Type is the given one. It
// panics when the type is empty or has a handler, when h is nil or the settings
// are out of range.
func (m *Mux) HandleType(eventType string, h Handler, cfg ...RouteConfig) {
	if eventType == "" {
		panic("inbox: mux: the type is empty")
	}
	if _, taken := m.types[eventType]; taken {
		panic(fmt.Sprintf("inbox: mux: type %q has a handler already", eventType))
	}
	m.types[eventType] = m.route(h, cfg)
}

// HandleTopic registers the handler of messages whose Topic matches the pattern
// and whose Type has no handler. A pattern is made of words separated by dots,
// in which * stands for one word and # for any number of them, as in bindings of
// RabbitMQ. Where several match, the one registered first counts. It panics as
// HandleType does.
func (m *Mux) HandleTopic(pattern string, h Handler, cfg ...RouteConfig) {
	if pattern == "" {
		panic("inbox: mux: the pattern is empty")
	}
	for _, r := range m.topics {
		if r.pattern == pattern {
			panic(fmt.Sprintf("inbox: mux: topic %q has a handler already", pattern))
		}
	}
	m.topics = append(m.topics, topicRoute{pattern, strings.Split(pattern, "."), m.route(h, cfg)})
}

// Handle is a Handler: it brings the message to the newest version that it has
// upcasters for, then calls the handler of the message's type, else of its topic,
// else does what MuxConfig.Unknown says.
func (m *Mux) Handle(ctx context.Context, tx Tx, msg Message) error {
	msg, err := m.upcast(ctx, msg)
	if err != nil {
		return err
	}
	if r, ok := m.find(msg); ok {
		return r.handler(ctx, tx, msg)
	}
	if m.cfg.Unknown == IgnoreUnknown {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.ignored[msg.Type]++
		return nil
	}
	return unknownType(msg)
}

// find returns the route of a message.
func (m *Mux) find(msg Message) (muxRoute, bool) {
	if r, ok := m.types[msg.Type]; ok {
		return r, true
	}
	topic := strings.Split(msg.Topic, ".")
	for _, r := range m.topics {
		if matchTopic(r.words, topic) {
			return r.muxRoute, true
		}
	}
	return muxRoute{}, false
}

func unknownType(msg Message) error {
	return DeadLetterFor(fmt.Errorf("no handler for type %q, topic %q", msg.Type, msg.Topic), ReasonUnknownType)
}

// Ignored returns how many messages were ignored for want of a route, by type,
// since the start. A message whose transaction is run again counts again.
func (m *Mux) Ignored() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.ignored)
}

// route puts middleware and settings around a handler.
func (m *Mux) route(h Handler, cfgs []RouteConfig) muxRoute {
	bare := h
	if h == nil {
		panic("inbox: mux: the handler is nil")
	}
	if len(cfgs) > 1 {
		panic("inbox: mux: a route has one RouteConfig at most")
	}
	for i := len(m.middleware) - 1; i >= 0; i-- {
		h = m.middleware[i](h)
	}
	if len(cfgs) == 0 {
		return muxRoute{bare, h}
	}
	return muxRoute{bare, cfgs[0].wrap(h)}
}

func (c RouteConfig) wrap(h Handler) Handler {
	if c.MaxAttempts < Unlimited {
		panic(fmt.Sprintf("inbox: mux: MaxAttempts: %d; must be positive, Unlimited, or 0 for the consumer's", c.MaxAttempts))
	}
	if c.Timeout < 0 {
		panic(fmt.Sprintf("inbox: mux: Timeout: %v; must be positive, or 0 for the consumer's", c.Timeout))
	}
	return func(ctx context.Context, tx Tx, msg Message) error {
		err := withTimeout(ctx, c.Timeout, h, tx, msg)
		if err == nil || c.MaxAttempts == 0 && c.Backoff == nil {
			return err
		}
		return &routeError{err: err, maxAttempts: c.MaxAttempts, backoff: c.Backoff}
	}
}

// routeError is a handler's error under the settings of its route.
type routeError struct {
	err         error
	maxAttempts int                              // 0: the consumer's
	backoff     func(failures int) time.Duration // nil: the consumer's
}

func (e *routeError) Error() string { return e.err.Error() }
func (e *routeError) Unwrap() error { return e.err }

// withTimeout calls h with a limit of its own; 0 is none.
func withTimeout(ctx context.Context, limit time.Duration, h Handler, tx Tx, msg Message) error {
	if limit == 0 {
		return h(ctx, tx, msg)
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := h(limited, tx, msg)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return &HandlerTimeoutError{Limit: limit, Err: err}
	}
	return err
}

// matchTopic reports whether the words of a topic match those of a pattern.
func matchTopic(pattern, topic []string) bool {
	for i, word := range pattern {
		if word == "#" {
			for n := i; n <= len(topic); n++ {
				if matchTopic(pattern[i+1:], topic[n:]) {
					return true
				}
			}
			return false
		}
		if i >= len(topic) || word != "*" && word != topic[i] {
			return false
		}
	}
	return len(pattern) == len(topic)
}
