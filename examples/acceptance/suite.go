package acceptance

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Target is a pair of running services.
type Target struct {
	// Base URLs of the services, such as http://127.0.0.1:6101. Required.
	OrdersURL, NotificationsURL string
	// AMQPURL of the broker they use. Without it nothing is said about
	// messages on the wire and their redelivery.
	AMQPURL string
	// Exchange the events go through. Defaults to pulse.events.
	Exchange string
	// StopBroker and StartBroker end and begin an outage of the broker; what
	// its queues hold has to survive it. Without them nothing is said about
	// outages.
	StopBroker, StartBroker func(context.Context) error
	// Tokens, where the services ask who calls: those of each kind they take. All
	// of the first goes with every request. Without any the requests carry none,
	// and nothing is said about callers.
	Tokens []Tokens
	// Patience is how long to wait for what must happen. Defaults to 30 s.
	Patience time.Duration
}

// checkLimit bounds one check, beside the patience of each of its waits.
const checkLimit = 5 * time.Minute

// check is one promise. It returns what is not so, or nil.
type check struct {
	name  string
	needs need
	hold  func(context.Context, *visitor) error
}

// need is what a check has to be told of beside the base URLs.
type need int

const (
	urls need = iota
	broker
	outages
	tokens
)

func (n need) missing(t Target) string {
	switch {
	case n == broker && t.AMQPURL == "":
		return "not told where the broker is (AMQPURL)"
	case n == outages && (t.StopBroker == nil || t.StartBroker == nil):
		return "not told how to stop and start the broker (StopBroker, StartBroker)"
	case n == tokens && len(t.Tokens) == 0:
		return "not told how to be let in (Tokens)"
	}
	return ""
}

var checks = []check{
	{"an order is answered with its three ids", urls, answersThreeIDs},
	{"orders can be read", urls, ordersCanBeRead},
	{"amounts are exact", urls, amountsAreExact},
	{"bad orders are refused, every bad field named", urls, badOrdersAreRefused},
	{"other bad requests are refused", urls, badRequestsAreRefused},
	{"refusals stay small", urls, refusalsStaySmall},
	{"web pages are kept out", urls, webPagesAreKeptOut},
	{"callers without a valid token are refused", tokens, strangersAreRefused},
	{"callers may do what their scopes say", tokens, scopesAreKept},
	{"callers see what is their customer's", tokens, customersAreKeptApart},
	{"the correlation id is taken over or made", urls, correlationIDRunsThrough},
	{"an idempotency key makes asking again safe", urls, idempotencyKeyHolds},
	{"many at once under one key place one order", urls, idempotencyKeyHoldsAtOnce},
	{"the services tell how they are", urls, healthIsTold},
	{"an order brings one notification", urls, orderBringsNotification},
	{"the event is published as the contract has it", broker, eventKeepsTheContract},
	{"a refused order publishes nothing", broker, refusedOrderPublishesNothing},
	{"one notification however often the message comes", broker, redeliveryIsHarmless},
	{"orders outlive an outage of the broker", outages, outageIsHarmless},
}

// Run holds target to every promise, one subtest each. What it cannot see is
// skipped and says why.
func Run(t *testing.T, target Target) {
	t.Helper()
	v, err := newVisitor(target)
	if err != nil {
		t.Fatal(err)
	}
	defer v.client.CloseIdleConnections()
	for _, c := range checks {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			if why := c.needs.missing(target); why != "" {
				t.Skip(why)
			}
			ctx, cancel := context.WithTimeout(t.Context(), checkLimit)
			defer cancel()
			if err := c.hold(ctx, v); err != nil {
				t.Error(err)
			}
		})
	}
}

func newVisitor(target Target) (*visitor, error) {
	var problems []error
	for name, base := range map[string]*string{"OrdersURL": &target.OrdersURL, "NotificationsURL": &target.NotificationsURL} {
		if *base = strings.TrimRight(*base, "/"); !strings.HasPrefix(*base, "http") {
			problems = append(problems, errors.New(name+": is no base URL, such as http://127.0.0.1:6101"))
		}
	}
	target.Exchange = cmp.Or(target.Exchange, "pulse.events")
	target.Patience = cmp.Or(target.Patience, 30*time.Second)
	return &visitor{Target: target, client: &http.Client{Timeout: target.Patience}}, errors.Join(problems...)
}
