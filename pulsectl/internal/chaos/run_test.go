package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/process"
)

// brokenVariable names the role that a child of this test program fills badly.
const brokenVariable = "PULSE_TEST_CHAOS_BROKEN"

func TestMain(m *testing.M) {
	if text := os.Getenv(process.Variable); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// runChild is one of the processes of a run.
func runChild(text string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var c process.Config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	if string(c.Role) != os.Getenv(brokenVariable) {
		return process.Run(ctx, os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	}
	switch c.Role {
	case process.Consumer:
		return consumeWithoutInbox(ctx, c)
	case process.Service:
		return answerBeforeCommit(ctx)
	}
	return errors.New("this role cannot be filled badly")
}

// consumeWithoutInbox applies whatever is delivered, as a consumer without an inbox
// does.
func consumeWithoutInbox(ctx context.Context, c process.Config) error {
	if err := json.NewEncoder(os.Stdout).Encode(process.Ready{}); err != nil {
		return err
	}
	db, _, err := database.Open(c.Database, "broken")
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := amqp.Dial(c.Broker)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	for _, queue := range []string{c.Queue, c.Queue + ".dlq", c.Queue + ".retry.500ms", c.Queue + ".retry.2s"} {
		if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
			return err
		}
	}
	if err := ch.QueueBind(c.Queue, process.PlacedTopic, c.Exchange, false, nil); err != nil {
		return err
	}
	deliveries, err := ch.Consume(c.Queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case d := <-deliveries:
			_, err := db.Exec(`INSERT INTO chaos_effects (event_id, follow_up, body, applied_at) VALUES ($1, '', $2, $3)`,
				d.MessageId, process.Digest(d.Body), time.Now().UnixMicro())
			if err != nil {
				return err
			}
			if err := d.Ack(false); err != nil {
				return err
			}
		}
	}
}

// answerBeforeCommit accepts orders and stores none.
func answerBeforeCommit(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := json.NewEncoder(os.Stdout).Encode(process.Ready{URL: "http://" + listener.Addr().String()}); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// config is that of a short run without faults. broken is the role that is filled
// badly; empty: none.
func config(t *testing.T, broken process.Role) chaos.Config {
	t.Helper()
	return chaos.Config{
		Seed: 1, Duration: 2 * time.Second, Rate: 50, Relays: 1, Consumers: 1, Faults: []chaos.Fault{},
		SettleLimit: 4 * time.Minute, Dir: t.TempDir(),
		Process: func() *exec.Cmd {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), brokenVariable+"="+string(broken))
			return cmd
		},
	}
}

func run(t *testing.T, c chaos.Config) *chaos.Result {
	t.Helper()
	c.Told = func(e chaos.Event) { t.Logf("%v %s", e.At.Round(time.Millisecond), e.Text) }
	r, err := chaos.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d orders, settled in %v, the longest recovery took %v", r.Report.Orders, r.Settled, r.Recovery())
	return r
}

// The whole of it can fail: a consumer without an inbox applies the copies that a
// run publishes on purpose.
func TestRunFindsConsumerWithoutInbox(t *testing.T) {
	t.Parallel()
	r := run(t, config(t, process.Consumer))
	if r.Verdict() != check.Violated || r.Report.Replayed == 0 {
		t.Fatalf("the verdict is %s after %d replays: %+v", r.Verdict(), r.Report.Replayed, r.Report)
	}
	if n := r.Report.Count(check.ReplayApplied); n != r.Report.Replayed {
		t.Errorf("%d events found that were applied again, of %d that were replayed; waiting for %q, crashes %q", n, r.Report.Replayed, r.Waiting, r.Crashes)
	}
	if n := r.Report.Count(check.HalfApplied); n != r.Report.Applied {
		t.Errorf("%d events found that are not in the inbox, want all %d", n, r.Report.Applied)
	}
}

// A service that answers before it commits loses orders.
func TestRunFindsServiceThatAnswersTooEarly(t *testing.T) {
	t.Parallel()
	r := run(t, config(t, process.Service))
	if n := r.Report.Count(check.AnsweredAbsent); r.Verdict() != check.Violated || n == 0 || n != r.Report.Accepted {
		t.Fatalf("the verdict is %s, %d of %d accepted orders are found absent", r.Verdict(), n, r.Report.Accepted)
	}
}

// Faults are real, and the system recovers from them.
func TestRun(t *testing.T) {
	t.Parallel()
	c := config(t, "")
	c.Duration, c.Relays = 4*time.Second, 2
	at := func(kind chaos.Kind, target string, at time.Duration) chaos.Fault {
		return chaos.Fault{Kind: kind, Target: target, At: at, For: 500 * time.Millisecond}
	}
	c.Faults = []chaos.Fault{
		at(chaos.RelayKill, "relay-1", 500*time.Millisecond), at(chaos.BrokerKill, "broker", time.Second), at(chaos.ConsumerKill, "consumer-1", 1200*time.Millisecond),
		at(chaos.LinkLoss, "relay-2>broker", 2*time.Second), at(chaos.ServiceKill, "service", 2200*time.Millisecond), at(chaos.RelayPause, "relay-1", 2500*time.Millisecond),
	}
	r := run(t, c)
	if r.Verdict() != check.Clean {
		t.Fatalf("the verdict is %s: %+v; crashes %q; faults %+v; waiting for %q", r.Verdict(), r.Report, r.Crashes, r.Faults, r.Waiting)
	}
	if r.Report.Orders == 0 || r.Report.Applied != r.Report.Orders || r.Report.OrdersPublished != r.Report.Orders || r.Report.FollowUps != r.Report.Orders {
		t.Errorf("%+v", r.Report)
	}
	for _, f := range r.Faults {
		if f.Error != "" || f.Ended-f.Began < f.For {
			t.Errorf("%s lasted from %v to %v: %q", f, f.Began, f.Ended, f.Error)
		}
	}
	if last := r.Timeline[len(r.Timeline)-1]; last.Unapplied+last.Unpublished > 0 {
		t.Errorf("the timeline ends with %+v", last)
	}
	// The history is judged by what it says alone.
	r.History.Answers = append(r.History.Answers, check.Answer{Order: uuid.NewString(), Outcome: check.Accepted})
	if v := check.Judge(r.History).Verdict(); v != check.Violated {
		t.Errorf("with an order that is gone: %s", v)
	}
}

// What the broker has is deleted, its user changed, and the run still knows what to
// require.
func TestRunWithoutQueueExchangeAndUser(t *testing.T) {
	t.Parallel()
	c := config(t, "")
	c.Duration = 20 * time.Second // on a busy machine faults take longer, and orders must come until the last of them
	// The next one is skipped if its time is over: an exchange takes two seconds.
	for _, f := range []struct {
		kind chaos.Kind
		at   time.Duration
	}{{chaos.BrokerCredentials, 500}, {chaos.BrokerRevoke, 1300}, {chaos.BrokerKill, 2100}, {chaos.BrokerDeleteExchange, 3500}, {chaos.BrokerDeleteQueue, 6500}} {
		c.Faults = append(c.Faults, chaos.Fault{Kind: f.kind, Target: "broker", At: f.at * time.Millisecond, For: 500 * time.Millisecond})
	}
	r := run(t, c)
	if r.Verdict() != check.Clean || r.Report.Applied != r.Report.Orders {
		t.Fatalf("the verdict is %s: %+v; crashes %q; faults %+v; waiting for %q", r.Verdict(), r.Report, r.Crashes, r.Faults, r.Waiting)
	}
	// Without being published again these would be lost.
	if r.Report.Restored == 0 && r.Skipped() == 0 {
		t.Error("the queue was empty when it was deleted")
	}
}
