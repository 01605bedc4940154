package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// Topology says what a Source does about exchange, queues and bindings each
// time it connects.
type Topology int

// The topology modes.
const (
	// Declare creates what is missing; what exists with other settings is an
	// error.
	Declare = Topology(rabbit.Declare)
	// Verify creates nothing, and waits, loudly, for what is missing, and for a
	// retry queue that would keep its messages for ever or lose them. Other
	// differences are logged, and the queue is used as it is. Arguments can be
	// compared only by a user with the configure permission; what a policy sets
	// does not show. From RabbitMQ 4.2.6 on what the user has no permission for
	// cannot be seen, and is taken to be there.
	Verify = Topology(rabbit.Verify)
	// None neither creates nor looks.
	None = Topology(rabbit.None)
)

// String is the mode in a word, as "declare".
func (t Topology) String() string { return rabbit.TopologyMode(t).String() }

// queueTraits is what is known of the consumed queue.
type queueTraits struct {
	quorum      bool
	deadLetters bool // the broker dead-letters messages that it removes by itself
}

// ensureAll sets up or checks exchange, queues and bindings, and returns
// every problem at once.
func (s *Source) ensureAll(ctx context.Context, conn *rabbit.Conn) (found queueTraits, err error) {
	l := s.layout(conn)
	problems := problems{}
	if !problems.note(conn.EnsureExchange(ctx, rabbit.TopologyMode(s.cfg.Topology), rabbit.Exchange{Name: l.Exchange.Name, Kind: l.Exchange.Type})) {
		return found, problems.err()
	}
	// The consumed queue comes last, just before its bindings: whoever waits for
	// it before publishing hardly meets a queue that nothing is bound to.
	for _, q := range slices.Backward(l.Queues) {
		differences, err := s.ensureQueue(ctx, conn, q)
		if !problems.note(err) {
			return found, problems.err()
		}
		if q.kind == consumedQueue {
			found.quorum = s.cfg.QueueType == Quorum && !slices.ContainsFunc(differences, func(d rabbit.Difference) bool { return d.Argument == argType })
			found.deadLetters = found.quorum && s.cfg.Topology != None && !slices.ContainsFunc(differences, func(d rabbit.Difference) bool { return safety[d.Argument] })
		}
	}
	for _, b := range l.Bindings {
		if !problems.note(conn.EnsureBinding(ctx, rabbit.TopologyMode(s.cfg.Topology), rabbit.Binding{Exchange: b.Exchange, Key: b.RoutingKey, Queue: b.Queue, Args: b.Arguments})) {
			break
		}
	}
	return found, problems.err()
}

// ensureFailureQueues sets up the queues that failed messages go to.
func (s *Source) ensureFailureQueues(ctx context.Context, conn *rabbit.Conn) error {
	problems := problems{}
	for _, q := range s.layout(conn).Queues {
		if q.kind == consumedQueue {
			continue
		}
		if _, err := s.ensureQueue(ctx, conn, q); !problems.note(err) {
			break
		}
	}
	return problems.err()
}

func (s *Source) layout(conn *rabbit.Conn) Layout {
	return newLayout(s.cfg, limitsDeliveries(conn.Properties))
}

// problems gathers what is wrong with the topology.
type problems struct{ all []error }

// note keeps err and reports whether it makes sense to go on looking.
func (p *problems) note(err error) (goOn bool) {
	if err != nil {
		p.all = append(p.all, err)
	}
	return err == nil || errors.Is(err, rabbit.ErrTopology)
}

func (p *problems) err() error {
	if len(p.all) < 2 {
		return errors.Join(p.all...)
	}
	return fmt.Errorf("%w\n(pulsectl broker topology prints all that is needed)", errors.Join(p.all...))
}

// ensureQueue sets up or checks a queue. It returns in what a queue that will
// do differs from the layout, as far as that can be known.
func (s *Source) ensureQueue(ctx context.Context, conn *rabbit.Conn, q Queue) ([]rabbit.Difference, error) {
	want := rabbit.Queue{Name: q.Name, Args: q.Arguments}
	err := conn.EnsureQueue(ctx, rabbit.TopologyMode(s.cfg.Topology), want)
	if err == nil && s.cfg.Topology != Verify || err != nil && !mismatch(err) {
		return nil, err
	}
	differences, compareErr := conn.CompareQueue(ctx, want)
	switch {
	case compareErr != nil && err != nil:
		return nil, err
	case errors.Is(compareErr, rabbit.ErrAccess):
		s.warnOnce(ctx, "the arguments of a queue cannot be compared without the configure permission; using it as it is", "queue", q.Name)
		return unknown, nil
	case compareErr != nil:
		return nil, compareErr
	}
	var fatal []string
	var others []rabbit.Difference
	for _, d := range differences {
		if why := unusable(s.cfg.Topology, q, d); why != "" {
			fatal = append(fatal, d.String()+" ("+why+")")
		} else {
			others = append(others, d)
		}
	}
	if len(fatal) > 0 && err != nil {
		return nil, fmt.Errorf("%w [%s]", err, strings.Join(fatal, "; "))
	}
	if len(fatal) > 0 {
		return nil, fmt.Errorf("%w: queue %q cannot serve: %s; delete it, once what is in it has been moved back, and create %v; "+
			"where a policy sets what is missing, set the topology mode to none",
			rabbit.ErrTopology, q.Name, strings.Join(fatal, "; "), want)
	}
	for _, d := range others {
		s.warnOnce(ctx, "queue differs from what would be declared; using it as it is", "queue", q.Name, "difference", d.String(), "means", meaning(q.kind, d))
	}
	return others, nil
}

// unknown stands for differences that cannot be seen: nothing that keeps
// messages safe is counted on.
var unknown = []rabbit.Difference{{Argument: argDLX}}

// unusable says why a difference makes a queue unusable; "" where it does not.
func unusable(mode Topology, q Queue, d rabbit.Difference) string {
	if mode == Declare {
		// Arguments that only keep messages safe may be missing from a queue
		// that another version declared, of the library or of the broker, and a
		// dead-letter queue may be consumed like any other.
		_, bounded := q.Arguments[argMaxLength]
		if _, inBytes := q.Arguments[argMaxBytes]; (bounded || inBytes) && d.Argument == argOverflow {
			return "once full, it would drop its oldest messages"
		}
		if d.Have == nil && (d.Argument == argDeliveryLimit || q.kind != retryQueue && safety[d.Argument]) ||
			q.kind != retryQueue && d.Argument == argOverflow {
			return ""
		}
		return "cannot be changed"
	}
	if q.kind != retryQueue {
		return ""
	}
	switch {
	case d.Argument == argTTL && d.Have == nil:
		return "messages would stay in it for ever"
	case d.Argument == argDLX, d.Argument == argDLKey:
		return "messages would not come back"
	case d.Argument == "x-expires", d.Argument == "durable":
		return "messages would vanish with it"
	}
	return ""
}

// safety are the arguments by which a queue dead-letters what it removes by itself.
var safety = map[string]bool{argDLX: true, argDLKey: true, argStrategy: true, argOverflow: true}

// meaning says what follows from a difference with which a queue can be used.
func meaning(kind queueKind, d rabbit.Difference) string {
	switch {
	case kind == consumedQueue && safety[d.Argument]:
		return "should a policy set a delivery limit, the broker deletes messages that reach it instead of dead-lettering them"
	case d.Argument == argDeliveryLimit:
		return "RabbitMQ 4 drops messages at their 20th return; set a policy with delivery-limit -1"
	case kind == deadLetterQueue && d.Argument == argOverflow:
		return "should a policy set a maximum length, the broker deletes the oldest dead letters"
	case d.Argument == argSingleActive:
		return "order across instances is not kept, or is kept without being asked for"
	case d.Argument == argTTL && d.Have != nil:
		return "messages leave it after another time"
	case kind == retryQueue && (d.Argument == argStrategy || d.Argument == argOverflow):
		return "a retry that falls due while the consumer's queue is missing is lost"
	}
	return "the broker treats its messages differently"
}

// warnOnce logs a warning unless it was logged before: it would come with
// every connection.
func (s *Source) warnOnce(ctx context.Context, text string, attrs ...any) {
	key := fmt.Sprint(append([]any{text}, attrs...)...)
	s.mu.Lock()
	warned := s.warned[key]
	s.warned[key] = true
	s.mu.Unlock()
	if !warned {
		s.cfg.Logger.WarnContext(ctx, text, attrs...)
	}
}

// limitsDeliveries reports whether the server is RabbitMQ 4.0 or later.
func limitsDeliveries(server amqp.Table) bool {
	product, _ := server["product"].(string)
	version, _ := server["version"].(string)
	return product == "RabbitMQ" && majorVersion(version) >= 4
}

// countsReturns reports whether returning a message counts towards a delivery
// limit. From RabbitMQ 4.3 on only lost connections and rejections
// count.
func countsReturns(server amqp.Table) bool {
	product, _ := server["product"].(string)
	version, _ := server["version"].(string)
	major, minor := majorVersion(version), 0
	if _, rest, found := strings.Cut(version, "."); found {
		minor = majorVersion(rest)
	}
	return product != "RabbitMQ" || major < 4 || major == 4 && minor < 3
}

// mismatch reports whether err says that something exists with other settings.
func mismatch(err error) bool {
	var reply *amqp.Error
	return errors.Is(err, rabbit.ErrTopology) && errors.As(err, &reply) && reply.Code == amqp.PreconditionFailed
}
