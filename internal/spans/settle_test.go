package spans_test

import (
	"errors"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// TestSettleRefused tests a settlement that the source does not accept at first, and
// what is settled for several messages at once.
func TestSettleRefused(t *testing.T) {
	in, _ := newInbox(t)
	c := start(t, inbox.ConsumerConfig{}, func(q queue, cfg inbox.ConsumerConfig) (*inbox.Consumer, error) {
		q.RefuseSettlements(errors.New("away"), errors.New("away"))
		return inbox.NewConsumer(in, q, nothing, cfg)
	}, deliveries(2)...)
	spans := c.await(t, 2, "process orders")
	testenv.Eventually(t, patience, "both messages to be settled", func() bool { return len(c.Acked()) == 2 })
	refused, settled := 0, 0
	within := make(map[trace.SpanID]int)
	testenv.Eventually(t, patience, "both messages to be settled", func() bool {
		refused, settled = 0, 0
		clear(within)
		for _, s := range c.named("settle orders") {
			if value(s, "error.type") == "unsettled" && value(s, "pulse.inbox.settle.failed") != "" && !strings.Contains(attributesText(s.Attributes), "acked") {
				refused++
			}
			if n := value(s, "pulse.inbox.settle.acked"); n != "" {
				settled += int(n[0] - '0')
				within[s.Parent.SpanID()]++
				for _, link := range s.Links {
					within[link.SpanContext.SpanID()]++
				}
			}
		}
		return settled == 2
	})
	if refused != 2 || within[spans[0].SpanContext.SpanID()] != 1 || within[spans[1].SpanContext.SpanID()] != 1 {
		t.Errorf("%d refused; settled within or linked to %v", refused, within)
	}
}
