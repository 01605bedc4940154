package peers

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jmoiron/sqlx"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/bench"
	"github.com/asimalizada/pulse-events/internal/postgres"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

var (
	turns   = flag.Int("turns", 5, "how often each library has its turn")
	backlog = flag.Int("messages", 20_000, "how many messages a turn handles; of the slowest, a fifth")
	results = flag.String("results", "", "`FILE` to write the medians to, as JSON for the chart")
)

// The messages of all benchmarks.
const (
	topic     = "order.created"
	bodyBytes = 512
	window    = 1000 // unconfirmed messages of whoever publishes in a pipeline
	patience  = 5 * time.Minute
)

var quiet = slog.New(slog.DiscardHandler)

// message is what every library is given to send.
type message struct {
	id   uuid.UUID
	key  string // another one for each message
	body []byte // JSON, as one of the libraries stores JSON only
}

func newMessages(n int) []message {
	source := rand.NewChaCha8([32]byte{})
	random := make([]byte, (bodyBytes-len(`{"data":""}`))/2)
	msgs := make([]message, n)
	for i := range msgs {
		_, _ = source.Read(random) // never fails
		body, err := json.Marshal(map[string]string{"data": hex(random)})
		if err != nil {
			panic(err)
		}
		id := uuid.Must(uuid.NewV7())
		msgs[i] = message{id: id, key: id.String(), body: body}
	}
	return msgs
}

func hex(b []byte) string {
	const digits = "0123456789abcdef"
	text := make([]byte, 0, 2*len(b))
	for _, c := range b {
		text = append(text, digits[c>>4], digits[c&15])
	}
	return string(text)
}

// rig is an empty database and an exchange with one queue.
type rig struct {
	b               *testing.B
	databaseURL     string
	db              *sqlx.DB      // for this library
	pool            *pgxpool.Pool // for the others, as they recommend
	brokerURL       string
	exchange, queue string
	queueType       string
	connection      *amqp.Connection
	channel         *amqp.Channel // in confirm mode
}

func newRig(b *testing.B, queueType string) *rig {
	b.Helper()
	r := &rig{
		b: b, databaseURL: testenv.Postgres(b), brokerURL: testenv.RabbitMQ(b), queueType: queueType,
		exchange: testenv.UniqueName(b, "peers"), queue: testenv.UniqueName(b, "peers"),
	}
	var err error
	r.db, err = postgres.Open(postgres.Config{URL: r.databaseURL, Name: "bench"})
	r.must(err)
	b.Cleanup(func() { r.db.Close() })
	settings, err := pgxpool.ParseConfig(r.databaseURL)
	r.must(err)
	settings.MaxConns = 20
	r.pool, err = pgxpool.NewWithConfig(b.Context(), settings)
	r.must(err)
	b.Cleanup(r.pool.Close)

	r.connection, err = amqp.Dial(r.brokerURL)
	r.must(err)
	b.Cleanup(func() { _ = r.connection.Close() }) // the measurement is over
	r.channel, err = r.connection.Channel()
	r.must(err)
	r.must(r.channel.Confirm(false))
	r.must(r.channel.ExchangeDeclare(r.exchange, amqp.ExchangeTopic, true, false, false, false, nil))
	_, err = r.channel.QueueDeclare(r.queue, true, false, false, false, r.arguments())
	r.must(err)
	r.must(r.channel.QueueBind(r.queue, topic, r.exchange, false, nil))
	b.Cleanup(func() {
		_, _ = r.channel.QueueDelete(r.queue, false, false, false)
		_ = r.channel.ExchangeDelete(r.exchange, false, false)
	})
	return r
}

func (r *rig) arguments() amqp.Table { return amqp.Table{"x-queue-type": r.queueType} }

func (r *rig) must(err error) {
	r.b.Helper()
	if err != nil {
		r.b.Fatal(err)
	}
}

func (r *rig) exec(statement string) {
	r.b.Helper()
	_, err := r.db.ExecContext(r.b.Context(), statement)
	r.must(err)
}

// count fails the benchmark if a query does not give want.
func (r *rig) count(want int, query string) {
	r.b.Helper()
	var n int
	r.must(r.db.GetContext(r.b.Context(), &n, query))
	if n != want {
		r.b.Fatalf("%s: %d, want %d", query, n, want)
	}
}

func (r *rig) eventually(what string, cond func() bool) {
	r.b.Helper()
	testenv.Eventually(r.b, patience, what, cond)
}

// take empties the queue, which must hold want messages: none is lost, and none
// was sent twice.
func (r *rig) take(want int) {
	r.b.Helper()
	n, err := r.channel.QueuePurge(r.queue, false)
	r.must(err)
	if n != want {
		r.b.Fatalf("the queue holds %d messages, want %d", n, want)
	}
}

// publish sends publishings with at most window of them unconfirmed.
func (r *rig) publish(publishings []amqp.Publishing) {
	r.b.Helper()
	var waiting []*amqp.DeferredConfirmation
	settle := func() {
		if !waiting[0].Wait() {
			r.b.Fatal("nacked")
		}
		waiting = waiting[1:]
	}
	for _, p := range publishings {
		if len(waiting) == window {
			settle()
		}
		confirm, err := r.channel.PublishWithDeferredConfirm(r.exchange, topic, false, false, p)
		r.must(err)
		waiting = append(waiting, confirm)
	}
	for len(waiting) > 0 {
		settle()
	}
}

// start runs something until stop is called, or the benchmark ends.
func (r *rig) start(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.b.Errorf("run: %v", err)
		}
	})
	r.b.Cleanup(stop)
	return stop
}

// rates are messages per second, one for each turn.
type rates []float64

func (r *rates) add(n int, took time.Duration) { *r = append(*r, float64(n)/took.Seconds()) }

func (r rates) median() float64 {
	sorted := slices.Sorted(slices.Values(r))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// entrant is one side of a comparison.
type entrant struct {
	name string // in the chart
	unit string // in metrics
	ours bool
	turn func() (n int, took time.Duration)
	all  rates
}

// compare lets each have its turn, then each its next, and reports the medians,
// and how many times as fast as each other the first of ours is.
func (r *rig) compare(title string, entrants ...*entrant) {
	r.b.Helper()
	for r.b.Loop() {
		for range *turns {
			for _, e := range entrants {
				n, took := e.turn()
				e.all.add(n, took)
			}
		}
	}
	first := entrants[slices.IndexFunc(entrants, func(e *entrant) bool { return e.ours })]
	g := bench.Group{Title: title}
	for _, e := range entrants {
		r.b.Logf("%s: %.0f messages/s", e.name, e.all)
		r.b.ReportMetric(e.all.median(), e.unit+"-msgs/s")
		if e != first {
			r.b.ReportMetric(first.all.median()/e.all.median(), first.unit+"/"+e.unit)
		}
		g.Bars = append(g.Bars, bench.Bar{Name: e.name, Ours: e.ours, Rate: e.all.median(), Turns: e.all})
	}
	r.b.ReportMetric(0, "ns/op") // includes preparations
	r.record(g)
}

var recorded []bench.Group

// record adds a group to the file of results.
func (r *rig) record(g bench.Group) {
	r.b.Helper()
	if *results == "" {
		return
	}
	recorded = append(recorded, g)
	text, err := json.MarshalIndent(bench.Results{Measured: time.Now().Format(time.DateOnly), On: r.machine(), Groups: recorded}, "", "  ")
	r.must(err)
	r.must(os.WriteFile(*results, append(text, '\n'), 0o644))
}

// machine is what the figures are of.
func (r *rig) machine() string {
	var server string
	r.must(r.db.GetContext(r.b.Context(), &server, `SELECT split_part(current_setting('server_version'), ' ', 1)`))
	return fmt.Sprintf("%d cores, PostgreSQL %s, RabbitMQ %v, %d turns", runtime.NumCPU(), server, r.connection.Properties["version"], *turns)
}

// forQueueTypes runs a benchmark for both types of queue.
func forQueueTypes(b *testing.B, run func(b *testing.B, queueType string)) {
	for _, queueType := range []string{"classic", "quorum"} {
		b.Run(queueType, func(b *testing.B) { run(b, queueType) })
	}
}
