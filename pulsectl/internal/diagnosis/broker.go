package diagnosis

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

// Broker is a broker to look at, and what is known from the databases.
type Broker struct {
	Queues     queues.Reader
	Management *queues.Management // nil: not given
	Instances  int                // that report to the inbox that they consume the queue; negative: not known
	Subscribed map[string]int     // by queue; nil: not known
	Topics     []string           // of the outbox
}

// brokerLook is the look at one broker.
type brokerLook struct {
	Broker
	*Report
	o    Options
	conn *rabbit.Conn

	exchanges []queues.Exchange // by the management API
	described []queues.Described
	managed   bool // both are known
}

// LookAtBroker reports on a broker. Without the management API it says what it
// could not see.
func LookAtBroker(ctx context.Context, r *Report, b Broker, o Options) {
	l := &brokerLook{Broker: b, Report: r, o: o}
	var err error
	if l.conn, err = b.Queues.Connect(ctx); err != nil {
		r.fail("broker.connection", "check --amqp-url and that the broker is up", "%v", err)
		return
	}
	defer l.conn.Close()
	l.version()
	secure := l.conn.ConnectionState()
	if !secure.HandshakeComplete {
		l.ok("broker.certificate", "the connection does not use TLS")
	} else {
		files, err := l.clientCertificates(ctx)
		if err != nil {
			l.unseen("broker.certificate", err)
		}
		l.judgeCertificates("broker.certificate", o.Expiry, "the broker", secure.PeerCertificates, files)
	}
	l.manage(ctx)
	l.alarms(ctx)
	l.exchange(ctx)
	l.arguments(ctx)
	l.policies()
	l.bindings(ctx)
	l.consumers(ctx)
	l.deadLetters(ctx)
	l.permissions(ctx)
	l.clock(ctx)
}

func (l *brokerLook) version() {
	product, _ := l.conn.Properties["product"].(string)
	version, _ := l.conn.Properties["version"].(string)
	var major, minor int
	_, err := fmt.Sscanf(version, "%d.%d", &major, &minor)
	switch {
	case product != "RabbitMQ" || err != nil:
		l.Unknown("broker.version", "", "%s %s: what it supports is not known", product, version)
	case major < 3 || major == 3 && minor < 10:
		l.fail("broker.version", "upgrade to RabbitMQ 3.10 or later", "RabbitMQ %s: its quorum queues have no message-ttl, which retry queues need", version)
	default:
		l.ok("broker.version", "RabbitMQ %s", version)
	}
}

// manage reads what only the management API knows.
func (l *brokerLook) manage(ctx context.Context) {
	const check = "broker.management"
	if l.Management == nil {
		l.Unknown(check, "pass --management-url http://HOST:15672, with the plugin rabbitmq_management enabled",
			"no management API is given: policies, bindings and permissions cannot be seen")
		return
	}
	var err error
	if l.exchanges, err = l.Management.Exchanges(ctx); err == nil {
		l.described, err = l.Management.Describe(ctx)
	}
	if err != nil {
		l.unseen(check, err)
		return
	}
	l.managed = true
	l.ok(check, "answers")
}

func (l *brokerLook) alarms(ctx context.Context) {
	const check = "broker.alarms"
	const hint = "on the broker: rabbitmq-diagnostics alarms; free memory or disk; publishing goes on by itself"
	alarm, err := queues.Alarm(ctx, l.conn)
	switch {
	case alarm != "":
		l.fail(check, hint, "the broker takes no messages: %s", alarm)
	case err != nil:
		l.unseen(check, err)
	}
	if l.managed {
		nodes, err := l.Management.Nodes(ctx)
		if err != nil {
			l.unseen(check, err)
		}
		for _, n := range nodes {
			switch {
			case !n.Running:
				l.fail(check, "start it, or remove it: rabbitmqctl forget_cluster_node "+n.Name, "node %s does not run", n.Name)
			case len(n.Partitions) > 0:
				l.fail(check, "see rabbitmqctl cluster_status", "node %s is cut off from %s", n.Name, listed(n.Partitions))
			case n.Memory && alarm == "":
				l.fail(check, hint, "node %s has too little memory", n.Name)
			case n.Disk && alarm == "":
				l.fail(check, hint, "node %s has too little disk", n.Name)
			}
		}
	}
	if !l.has(check) {
		l.ok(check, "none: the broker takes messages")
	}
}

func (l *brokerLook) exchange(ctx context.Context) {
	const check = "broker.exchange"
	const hint = "start the services, which declare it, or create it: pulsectl broker topology --definitions"
	there, err := queues.HasExchange(ctx, l.conn, l.o.Exchange)
	switch {
	case err != nil:
		l.unseen(check, err)
		return
	case !there:
		l.fail(check, hint, "exchange %s does not exist: nothing can be published", l.o.Exchange)
		return
	case !l.managed:
		l.ok(check, "%s is there; its type cannot be seen without the management API", l.o.Exchange)
		return
	}
	for _, x := range l.exchanges {
		if x.Name != l.o.Exchange {
			continue
		}
		if !x.Durable {
			l.fail(check, "delete it, and let the services declare it again", "exchange %s is not durable: a restart of the broker deletes it", x.Name)
			return
		}
		l.ok(check, "%s is a durable %s exchange", x.Name, x.Type)
	}
}

// permissions reports users that lack what publishers or consumers need.
func (l *brokerLook) permissions(ctx context.Context) {
	const check = "broker.permissions"
	if !l.managed {
		l.Unknown(check, "", "cannot be seen without the management API")
		return
	}
	all, err := l.Management.Permissions(ctx)
	if err != nil {
		l.Unknown(check, "pass a --management-url of an administrator", "cannot be seen: %v", err)
		return
	}
	own := ""
	if u, err := url.Parse(rabbit.First(l.Queues.Source.URL)); err == nil {
		own = u.User.Username()
	}
	var texts []string
	for _, p := range all {
		can, lacks := l.can(p)
		if p.User == own && lacks != "" {
			l.warn(check, "run: rabbitmqctl set_permissions -p "+l.Management.VHost+" "+p.User+" CONFIGURE WRITE READ", "user %s %s", p.User, lacks)
		}
		texts = append(texts, p.User+" "+can)
	}
	if !l.has(check) {
		l.ok(check, "%s", listed(texts))
	}
}

// can returns what a user may do, and what it may not.
func (l *brokerLook) can(p queues.Permission) (can, lacks string) {
	allows := func(pattern, name string) bool {
		re, err := regexp.Compile(pattern)
		return err == nil && pattern != "" && re.MatchString(name)
	}
	names := l.Queues.Names()
	publishes := allows(p.Write, l.o.Exchange)
	consumes := allows(p.Read, names.Queue) && allows(p.Write, "amq.default")
	declares := allows(p.Configure, l.o.Exchange) && allows(p.Configure, names.Queue)
	var may, not []string
	for _, right := range []struct {
		has  bool
		text string
	}{{publishes, "publish to " + l.o.Exchange}, {consumes, "consume " + names.Queue}, {declares, "declare both"}} {
		if right.has {
			may = append(may, right.text)
		} else {
			not = append(not, right.text)
		}
	}
	if len(not) > 0 {
		lacks = "may not " + strings.Join(not, ", ")
	}
	if len(may) == 0 {
		return "(may do nothing here)", lacks
	}
	return "(may " + strings.Join(may, ", ") + ")", lacks
}

// clock compares the broker's clock, as far as the API tells it.
func (l *brokerLook) clock(ctx context.Context) {
	const check = "broker.clock"
	if !l.managed {
		l.Unknown(check, "", "cannot be seen without the management API")
		return
	}
	before := time.Now()
	at, err := l.Management.Now(ctx)
	switch {
	case err != nil:
		l.unseen(check, err)
	case at.IsZero():
		l.Unknown(check, "", "the management API does not tell the time")
	default:
		l.judgeClock(check, "the broker's clock", before, at.Add(time.Second/2), time.Now(), time.Second/2)
	}
}

// clientCertificates returns the certificate that is presented to the broker.
func (l *brokerLook) clientCertificates(ctx context.Context) (chain []*x509.Certificate, err error) {
	if l.Queues.Source.GetTLS == nil {
		return nil, nil
	}
	cfg, err := l.Queues.Source.GetTLS(ctx)
	if err != nil || cfg == nil {
		return nil, err
	}
	return parsed(cfg.Certificates)
}
