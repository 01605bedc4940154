// Package bench measures the outbox, the relay, the consumer, and the way
// through all of them, on given servers. The bare AMQP client is measured on the
// same broker, in turns with them: rates depend on the machine and on other load,
// their ratio depends on either much less.
//
// A measurement has tables and queues of its own, under names that nothing else
// uses, and removes them in the end.
package bench

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"time"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox"
)

// Config says what is measured.
type Config struct {
	// Database is a postgres:// or sqlite: URL. In PostgreSQL a schema is made, and
	// beside a SQLite file another one.
	Database string
	// Broker is an amqp:// or amqps:// URL, and GetTLS its certificates, if any.
	Broker string
	GetTLS func(context.Context) (*tls.Config, error)

	Messages  int // of one turn
	Rounds    int // turns of each kind; results are medians
	Bytes     int // of a payload
	Keys      int // distinct ordering keys; 0: each message has its own
	QueueType inboxrabbit.QueueType
	Delete    bool // the relay deletes published rows instead of keeping them

	// Rate and Duration are those of the messages whose latency is measured.
	Rate     int // messages per second
	Duration time.Duration
	Wake     Wake // how the relay learns of them; empty: ByCall

	// Progress, if set, is told what begins.
	Progress func(what string)
}

// Wake is how a relay learns that a message was committed.
type Wake string

const (
	// ByCall: by a call of Wake, as in the producer's process.
	ByCall Wake = "call"
	// ByNotify: by NOTIFY, as from producers in other processes.
	ByNotify Wake = "notify"
	// ByPolling: not at all.
	ByPolling Wake = "poll"
)

// topic is the one of all messages.
const topic = "order.created"

// patience limits every wait.
const patience = 10 * time.Minute

// poll is how often a condition is looked at.
const poll = time.Millisecond

var quiet = slog.New(slog.DiscardHandler)

func (c Config) progress(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf(format, args...))
	}
}

// unique returns a name that nothing else has.
func unique() string { return "pulse_bench_" + strings.ToLower(rand.Text()[:10]) }

// messages returns n messages. Payloads are random text, which does not compress
// much.
func (c Config) messages(n int) []outbox.Message {
	source := mathrand.NewChaCha8([32]byte{})
	msgs := make([]outbox.Message, n)
	for i := range msgs {
		msgs[i] = outbox.NewMessage(topic, payload(source, c.Bytes))
		if msgs[i].Key = msgs[i].ID.String(); c.Keys > 0 {
			msgs[i].Key = fmt.Sprint("key-", i%c.Keys)
		}
	}
	return msgs
}

// payload returns a JSON string of n bytes, at least two.
func payload(source io.Reader, n int) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	body := make([]byte, max(2, n))
	_, _ = source.Read(body) // a ChaCha8 never fails
	for i, b := range body {
		body[i] = letters[b%64]
	}
	body[0], body[len(body)-1] = '"', '"'
	return body
}

// eventually waits until done, or returns why it cannot be.
func eventually(ctx context.Context, what string, failed <-chan error, done func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("after %v", patience))
	defer cancel()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ticker.C:
		case err := <-failed:
			return fmt.Errorf("%s: %w", what, cmp.Or(err, errors.New("it stopped")))
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
	}
	return nil
}

// running is a relay or consumer that runs.
type running struct {
	cancel context.CancelFunc
	ended  chan error
}

func start(ctx context.Context, run func(context.Context) error) *running {
	ctx, cancel := context.WithCancel(ctx)
	r := &running{cancel, make(chan error, 1)}
	go func() { r.ended <- run(ctx) }()
	return r
}

// stop stops it and waits for its end.
func (r *running) stop() error {
	r.cancel()
	return <-r.ended
}

// rates are messages per second, one for each turn.
type rates []float64

// measure times do, which handles n messages.
func (r *rates) measure(n int, do func() error) error {
	began := time.Now()
	err := do()
	*r = append(*r, float64(n)/time.Since(began).Seconds())
	return err
}

// median returns the middle of values, or 0 if there are none.
func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the smallest value that at least the given share of all does
// not exceed, or the mean of the two in the middle.
func quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	if share == 0.5 && len(sorted)%2 == 0 {
		return (sorted[len(sorted)/2-1] + sorted[len(sorted)/2]) / 2
	}
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// ratio returns a / b, or 0 if b is.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
