package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/internal/health"
	"github.com/asimalizada/pulse-events/outbox"
)

var (
	// ErrAudience says that a queue that Audiences names is not bound.
	ErrAudience error = health.Public("a queue of the audience is not bound")
	// ErrBindings says that bindings cannot be looked up.
	ErrBindings error = health.Public("the bindings cannot be looked up")
)

// lookFreshness is how old a look may be before which a message is sent.
const lookFreshness = time.Second

// audience judges the messages of one call of Publish by the queues that must get
// them. A nil one has nothing to judge.
type audience struct {
	p       *Publisher
	ctx     context.Context
	session *session
	first   *look
	second  *look // begun after the verdicts
	known   map[bindingOf]error
}

// bindingOf is what a verdict of one look is about.
type bindingOf struct {
	look       *look
	topic, key string
}

// audience returns nil if no message has one.
func (p *Publisher) audience(ctx context.Context, s *session, msgs []outbox.Message) *audience {
	if p.bound == nil || !slices.ContainsFunc(msgs, func(m outbox.Message) bool { return len(p.cfg.Audiences[m.Topic]) > 0 }) {
		return nil
	}
	a := &audience{p: p, ctx: ctx, session: s, known: make(map[bindingOf]error)}
	a.first = p.bound.since(ctx, s, time.Now().Add(-lookFreshness))
	if a.first.err == nil && a.misses(msgs) { // by now they may be there
		a.first = p.bound.since(ctx, s, time.Now())
	}
	return a
}

// misses reports whether a queue of one of the topics lacked at the first look, as
// far as that is known without the routing keys.
func (a *audience) misses(msgs []outbox.Message) bool {
	return slices.ContainsFunc(msgs, func(m outbox.Message) bool {
		return slices.ContainsFunc(a.p.cfg.Audiences[m.Topic], func(queue string) bool { return !a.first.bound[queue] })
	})
}

// before returns why a message is not sent.
func (a *audience) before(topic, key string) error {
	if a == nil {
		return nil
	}
	return a.judge(a.first, topic, key)
}

// after returns what the verdict of the broker amounts to: what it has confirmed, or
// returned, was published only if the queues are bound by then.
func (a *audience) after(topic, key string, verdict error) error {
	if a == nil || len(a.p.cfg.Audiences[topic]) == 0 || verdict != nil && !errors.Is(verdict, outbox.ErrUnroutable) {
		return verdict
	}
	if a.second == nil {
		a.second = a.p.bound.since(a.ctx, a.session, time.Now())
	}
	if err := a.judge(a.second, topic, key); err != nil {
		return err
	}
	if verdict != nil { // bound since
		return outbox.Unavailable(fmt.Errorf("%w: it was not when the message was sent: %w", ErrAudience, verdict))
	}
	return nil
}

func (a *audience) judge(l *look, topic, key string) error {
	queues := a.p.cfg.Audiences[topic]
	if len(queues) == 0 {
		return nil
	}
	if l.err != nil {
		return outbox.Unavailable(fmt.Errorf("%w, and topic %q has an audience: %w", ErrBindings, topic, l.err))
	}
	about := bindingOf{l, topic, key}
	err, known := a.known[about]
	if !known {
		reach := l.table.Reaches(key, a.p.cfg.Exchange)
		missing := slices.DeleteFunc(slices.Clone(queues), func(queue string) bool { return reach.Queues[queue] || reach.Perhaps[queue] })
		if len(missing) > 0 {
			err = outbox.Unavailable(fmt.Errorf("%w: topic %q has to reach %s through exchange %q: start the consumer that declares it, or run: %s",
				ErrAudience, topic, quoted(missing), a.p.cfg.Exchange, bindCommand(a.session, a.p.cfg.Exchange, missing[0], key)))
		}
		a.known[about] = err
	}
	return err
}

func quoted(queues []string) string {
	names := make([]string, len(queues))
	for i, queue := range queues {
		names[i] = fmt.Sprintf("%q", queue)
	}
	if len(names) == 1 {
		return "queue " + names[0]
	}
	return "queues " + strings.Join(names, ", ")
}

func bindCommand(s *session, exchange, queue, key string) string {
	return fmt.Sprintf("rabbitmqadmin --vhost=%s declare binding source=%s destination=%s routing_key=%s", s.conn.Config.Vhost, exchange, queue, key)
}

// ParseAudiences reads PublisherConfig.Audiences from a setting: pairs of a topic and a
// queue, such as order.created=billing,order.created=shipping; nil for "".
func ParseAudiences(text string) (map[string][]string, error) {
	if text == "" {
		return nil, nil
	}
	audiences := make(map[string][]string)
	for pair := range strings.SplitSeq(text, ",") {
		topic, queue, found := strings.Cut(strings.TrimSpace(pair), "=")
		if !found || topic == "" || queue == "" {
			return nil, fmt.Errorf("%q is not TOPIC=QUEUE, such as order.created=billing", pair)
		}
		audiences[topic] = append(audiences[topic], queue)
	}
	return audiences, nil
}

// validateAudiences returns every problem.
func (c PublisherConfig) validateAudiences() (problems []error) {
	if len(c.Audiences) == 0 {
		return nil
	}
	for topic, queues := range c.Audiences {
		switch {
		case topic == "" || len(queues) == 0 || slices.Contains(queues, ""):
			problems = append(problems, fmt.Errorf("Audiences: topic %q has no queue, or one without a name", topic))
		case c.AllowUnroutable != nil && c.AllowUnroutable(topic):
			problems = append(problems, fmt.Errorf("Audiences: topic %q has queues, and AllowUnroutable says that it needs none", topic))
		}
	}
	if c.GetManagementURL != nil {
		return problems
	}
	if c.ManagementURL == "" {
		return append(problems, errors.New("Audiences: AMQP does not tell which queues are bound: set ManagementURL, such as http://user:password@host:15672"))
	}
	if _, err := parseManagementURL(c.ManagementURL); err != nil {
		problems = append(problems, fmt.Errorf("ManagementURL: %w", err))
	}
	return problems
}

// parseManagementURL quotes nothing of a URL, which holds a password.
func parseManagementURL(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("is not a URL such as http://user:password@host:15672")
	}
	return u, nil
}
