package diagnosis

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

// told returns the findings as "state detail", a line each.
func told(r *Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		b.WriteString(string(f.State) + " " + f.Detail + "\n")
	}
	return b.String()
}

func TestJudgePolicies(t *testing.T) {
	type def = map[string]any
	for _, c := range []struct {
		about     string
		role      role
		arguments def
		policy    def
		want      []string // parts of the findings, in order
	}{
		{"as declared", consumed, def{"x-queue-type": "quorum", "x-dead-letter-exchange": "", "x-overflow": "reject-publish"}, nil, nil},
		{"the delay of a retry queue", retry, def{"x-message-ttl": 5000., "x-dead-letter-exchange": ""}, nil, nil},
		{"a shorter delay by policy", retry, def{"x-message-ttl": 5000., "x-dead-letter-exchange": ""}, def{"message-ttl": 1000.}, []string{"warn queue q: message-ttl is 1000 by policy p"}},
		{"a longer one does nothing", retry, def{"x-message-ttl": 5000., "x-dead-letter-exchange": ""}, def{"message-ttl": 9000.}, nil},
		{"drops the oldest", consumed, nil, def{"max-length": 10.}, []string{"fail queue q: max-length is 10 by policy p: when it is full, the oldest"}},
		{"refuses", consumed, def{"x-overflow": "reject-publish"}, def{"max-length-bytes": 10., "overflow": "drop-head"}, []string{"warn queue q: max-length-bytes"}},
		{"by argument", deadLetters, def{"x-max-length": 10.}, nil, []string{"fail queue q: max-length is 10 by argument"}},
		{"a limit with dead letters", consumed, def{"x-dead-letter-exchange": ""}, def{"delivery-limit": 5.}, []string{"warn queue q: delivery-limit"}},
		{"a limit without", consumed, nil, def{"delivery-limit": 5.}, []string{"fail queue q: delivery-limit"}},
		{"a limit on dead letters", deadLetters, nil, def{"delivery-limit": 5.}, []string{"fail queue q: delivery-limit"}},
		{"switched off", deadLetters, def{"x-delivery-limit": -1.}, nil, nil},
		{"dead letters expire", deadLetters, nil, def{"message-ttl": 5., "expires": 7.}, []string{"fail queue q: message-ttl", "fail queue q: expires"}},
	} {
		r := &Report{}
		r.judgePolicies("broker.policies", c.role, queues.Described{Name: "q", Type: "quorum", Arguments: c.arguments, Policy: "p", PolicyDefinition: c.policy})
		if len(r.Findings) != len(c.want) {
			t.Errorf("%s: %d findings, want %d:\n%s", c.about, len(r.Findings), len(c.want), told(r))
			continue
		}
		for i, f := range r.Findings {
			if got := string(f.State) + " " + f.Detail; !strings.HasPrefix(got, c.want[i]) || f.Hint == "" {
				t.Errorf("%s: %s (%s), want %s", c.about, got, f.Hint, c.want[i])
			}
		}
	}
}

func TestUnbound(t *testing.T) {
	kinds := map[string]string{"topics": "topic", "direct": "direct", "all": "fanout", "by": "headers"}
	to := func(source, key, destination string) queues.Binding {
		return queues.Binding{Source: source, Key: key, Destination: destination, DestinationType: "queue"}
	}
	through := func(source, key, destination string) queues.Binding {
		b := to(source, key, destination)
		b.DestinationType = "exchange"
		return b
	}
	bindings := []queues.Binding{
		to("topics", "order.*", "q"), to("topics", "#.audit", "q"), to("topics", "a.#.z", "q"), through("topics", "shop.#", "direct"),
		to("direct", "shop.sold", "q"), through("direct", "loop", "topics"), to("all", "whatever", "q"), to("by", "", "q"),
	}
	for _, c := range []struct {
		exchange string
		topics   string
		missing  string
		known    bool
	}{
		{"topics", "order.created order", "order", true},
		{"topics", "order.created.late order.x", "order.created.late", true},
		{"topics", "audit x.audit x.y.audit audit.x", "audit.x", true},
		{"topics", "a.z a.b.z a.b.c.z a.b", "a.b", true},
		{"topics", "shop.sold shop.bought", "shop.bought", true},
		{"direct", "shop.sold shop loop", "shop loop", true},
		{"all", "anything", "", true},
		{"by", "anything", "", false},
		{"nothing", "x", "x", true},
	} {
		missing, known := unbound(strings.Fields(c.topics), c.exchange, kinds, bindings)
		if got := strings.Join(missing, " "); got != c.missing || known != c.known {
			t.Errorf("%s, %s: %q, %v; want %q, %v", c.exchange, c.topics, got, known, c.missing, c.known)
		}
	}
}

func TestJudgeHandlers(t *testing.T) {
	for about, c := range map[string]struct {
		reached    map[string][]string
		consumed   map[string]int
		subscribed map[string]int
		want       []string
	}{
		"all consumed": {map[string][]string{"a": {"one", "two"}}, map[string]int{"one": 1, "two": 3}, map[string]int{"one": 1},
			[]string{"ok every queue that gets messages is consumed; one by consumers that report to this inbox; two (3) by others"}},
		"an idle queue beside": {map[string][]string{"a": {"one", "two"}}, map[string]int{"one": 1, "two": 0}, nil, []string{"warn queue two gets messages, and has no consumer"}},
		"nobody": {map[string][]string{"a": {"one"}, "b": nil}, map[string]int{"one": 0}, nil,
			[]string{"warn nobody handles topic a: its messages wait in one", "warn queue one gets messages, and has no consumer"}},
		"not looked at": {map[string][]string{"a": {"one"}}, nil, nil, []string{"ok "}},
	} {
		r := &Report{}
		r.judgeHandlers("check", c.reached, c.consumed, c.subscribed)
		if len(r.Findings) != len(c.want) {
			t.Errorf("%s: %+v", about, r.Findings)
			continue
		}
		for i, f := range r.Findings {
			if got := string(f.State) + " " + f.Detail; !strings.HasPrefix(got, c.want[i]) || f.State == Warn && f.Hint == "" {
				t.Errorf("%s: %s, want %s", about, got, c.want[i])
			}
		}
	}
}

func TestJudgeRights(t *testing.T) {
	role := func(granted ...string) []rights {
		all := []rights{}
		for i, name := range []string{"outbox_messages", "outbox_schema"} {
			all = append(all, rights{Role: "app", Usage: true, Schema: "public", Table: name, Granted: granted[i]})
		}
		return all
	}
	for _, c := range []struct{ messages, version, summary, missing, grant string }{
		{"SELECT,INSERT,UPDATE,DELETE", "SELECT", "(all)", "", ""},
		{"INSERT", "", "(may only insert)", "", ""},
		{"SELECT", "SELECT", "(may only read)", "", ""},
		{"", "", "", "", ""},
		{"SELECT,INSERT,UPDATE", "SELECT", "", "DELETE on outbox_messages", "run: GRANT DELETE ON public.outbox_messages TO app"},
		{"SELECT,INSERT,UPDATE,DELETE", "", "", "SELECT on outbox_schema", "run: GRANT SELECT ON public.outbox_schema TO app"},
	} {
		if summary, missing, grant := judgeRights(role(c.messages, c.version), "outbox_schema"); summary != c.summary || missing != c.missing || grant != c.grant {
			t.Errorf("%s, %s: %q, %q, %q", c.messages, c.version, summary, missing, grant)
		}
	}
	outside := role("INSERT", "")
	outside[0].Usage = false
	if _, missing, grant := judgeRights(outside, "outbox_schema"); missing != "USAGE on schema public" || grant != "run: GRANT USAGE ON SCHEMA public TO app" {
		t.Errorf("without usage: %q, %q", missing, grant)
	}
}

func TestJudgeClock(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		off, took time.Duration
		want      string
	}{
		{0, time.Millisecond, "ok"},
		{4 * time.Second, time.Millisecond, "ok"},
		{6 * time.Second, time.Millisecond, "warn its clock is 6s ahead"},
		{-time.Hour, time.Millisecond, "warn its clock is 1h0m0s behind"},
		{6 * time.Second, 10 * time.Second, "ok"}, // the answer took longer than that
	} {
		r := &Report{}
		r.judgeClock("clock", "its clock", now, now.Add(c.took/2+c.off), now.Add(c.took), 0)
		if got := told(r); !strings.HasPrefix(got, c.want) {
			t.Errorf("%v, in %v: %s", c.off, c.took, got)
		}
	}
}

func TestJudgeTable(t *testing.T) {
	for _, c := range []struct {
		about string
		table tableState
		want  State
	}{
		{"small", tableState{Size: 1 << 20, Live: 10, Dead: 1000, Width: 500, Enabled: true}, OK},
		{"busy", tableState{Size: 1 << 30, Live: 1_000_000, Dead: 100_000, Width: 500, Enabled: true}, OK},
		{"off", tableState{Live: 10}, Fail},
		{"dead rows", tableState{Size: 1 << 20, Live: 10, Dead: 60_000, Width: 500, Enabled: true}, Warn},
		{"empty pages", tableState{Size: 1 << 30, Live: 1000, Width: 500, Enabled: true}, Warn},
		{"of unknown width", tableState{Size: 1 << 30, Live: 1000, Enabled: true}, OK},
	} {
		if state, detail, hint := c.table.judge(); state != c.want || state != OK && hint == "" {
			t.Errorf("%s: %s, %s (%s)", c.about, state, detail, hint)
		}
	}
}

func TestJudgeConsumers(t *testing.T) {
	at := func(queue string) inbox.InstanceStatus { return inbox.InstanceStatus{Queue: queue, Live: true} }
	for _, c := range []struct {
		about string
		all   consumers
		want  string
	}{
		{"none", consumers{}, "ok none runs"},
		{"two of one", consumers{"a": {at("q"), at("q")}}, "ok a (2 of q)"},
		{"one each", consumers{"a": {at("q")}, "b": {at("p")}}, "ok a (1 of q), b (1 of p)"},
		{"a shared name", consumers{"a": {at("q"), at("p")}}, "fail instances named a read different queues (p, q)"},
		{"a shared queue", consumers{"a": {at("q")}, "b": {at("q")}}, "fail consumers a, b share queue q"},
	} {
		r := &Report{}
		if r.judgeConsumers("inbox.consumers", c.all); len(r.Findings) != 1 || !strings.HasPrefix(told(r), c.want) {
			t.Errorf("%s: %s", c.about, told(r))
		}
	}
}

func TestJudgeCertificates(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		left time.Duration
		want State
	}{{-day, Fail}, {day, Fail}, {20 * day, Warn}, {90 * day, OK}} {
		r := &Report{}
		r.judgeCertificates("certificate", 30*day, "the broker", []*x509.Certificate{{NotAfter: time.Now().Add(c.left)}, {NotAfter: time.Now().Add(400 * day)}}, nil)
		if len(r.Findings) != 1 || r.Worst() != c.want {
			t.Errorf("%v left: %s", c.left, told(r))
		}
	}
}

// What could not be seen is no fault.
func TestReportWorst(t *testing.T) {
	r := &Report{}
	for _, c := range []struct{ add, want State }{{Unknown, OK}, {OK, OK}, {Warn, Warn}, {Unknown, Warn}, {Fail, Fail}, {Warn, Fail}} {
		if r.Add(Finding{State: c.add}); r.Worst() != c.want {
			t.Errorf("after %s: %s, want %s", c.add, r.Worst(), c.want)
		}
	}
}
