package env

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// Queues returns a reader of the consumer's queues; each of its calls opens its
// own connection.
func (e *Env) Queues() (queues.Reader, error) {
	url, err := e.AMQPURL()
	if err != nil {
		return queues.Reader{}, err
	}
	files, err := e.AMQPTLS()
	if err != nil {
		return queues.Reader{}, err
	}
	if err := (rabbit.Config{URL: url, GetTLS: files.Get()}).Validate(); err != nil {
		return queues.Reader{}, fail.Usagef("", "--amqp-url: %v", err)
	}
	q := queues.Reader{Source: inboxrabbit.SourceConfig{
		URL: url, GetURL: e.Rotated(e.Flags.AMQPURL, "PULSE_AMQP_URL"), GetTLS: files.Get(), Queue: e.Flags.Queue,
	}}
	if q.Management, err = e.management(url, func(s stack.State) string { return s.RabbitMQUIURL }); err != nil {
		return queues.Reader{}, err
	}
	if q.NoLadder = e.Flags.RetryDelays == "none"; q.NoLadder || e.Flags.RetryDelays == "" {
		return q, nil
	}
	for text := range strings.SplitSeq(e.Flags.RetryDelays, ",") {
		delay, err := time.ParseDuration(strings.TrimSpace(text))
		if err != nil || delay <= 0 {
			return queues.Reader{}, fail.Usagef("for example: --retry-delays 1s,5s,30s", "--retry-delays: %q is not a duration", text)
		}
		q.Source.RetryDelays = append(q.Source.RetryDelays, delay)
	}
	return q, nil
}

// QueuesOf returns the queues that the running consumer reports, unless flags
// set them.
func (e *Env) QueuesOf(ctx context.Context, in *inbox.Inbox) (queues.Reader, error) {
	q, err := e.Queues()
	if err != nil {
		return q, err
	}
	instances, err := in.Instances(ctx)
	switch {
	case errors.Is(err, inbox.ErrSchema):
		return q, nil // a version that does not report them, or no inbox at all
	case err != nil:
		return q, fail.Wrap("cannot read the inbox", err)
	}
	var theirs []string
	for _, i := range instances {
		if i.Live && i.Queue != "" && !slices.Contains(theirs, i.Queue) {
			theirs = append(theirs, i.Queue)
		}
	}
	if len(theirs) > 0 && !slices.Contains(theirs, q.Source.Queue) {
		if e.Flags.QueueGiven || len(theirs) > 1 {
			return q, fail.New(fail.NotFound, "give the queue with --queue: "+strings.Join(theirs, ", "),
				"consumer %q does not consume queue %q: it consumes %s", e.Flags.Consumer, q.Source.Queue, strings.Join(theirs, ", "))
		}
		q.Source.Queue = theirs[0]
	}
	if e.Flags.RetryDelays == "" {
		for _, i := range instances {
			if i.Queue == q.Source.Queue && len(i.RetryDelays) > 0 {
				q.Source.RetryDelays = i.RetryDelays
			}
		}
	}
	return q, nil
}

// ConsumerQueues returns a reader of the queues of the running consumer, or of
// those that flags and defaults name while its inbox cannot be read.
func (e *Env) ConsumerQueues(ctx context.Context) (queues.Reader, error) {
	return e.consumerQueues(ctx, func(ctx context.Context) (*inbox.Inbox, error) {
		in, _, err := e.Inbox(ctx)
		return in, err
	})
}

func (e *Env) consumerQueues(ctx context.Context, open func(context.Context) (*inbox.Inbox, error)) (queues.Reader, error) {
	q, err := e.Queues()
	if err != nil {
		return q, err
	}
	// The inbox's database must not use up the time for the broker.
	ctx, cancel := context.WithTimeout(ctx, LookLimit/4)
	defer cancel()
	in, err := open(ctx)
	if err != nil {
		return q, nil
	}
	if theirs, err := e.QueuesOf(ctx, in); err == nil {
		q = theirs
	}
	return q, nil
}

// Management returns the broker's management API, nil if its URL is unknown.
// Unlike Queues it also knows that of an embedded broker, which has no numbers
// that AMQP does not tell.
func (e *Env) Management() (*queues.Management, error) {
	url, err := e.AMQPURL()
	if err != nil {
		return nil, err
	}
	return e.management(url, func(s stack.State) string { return cmp.Or(s.RabbitMQUIURL, s.ManagementURL) })
}

// management returns nil if the API's URL is unknown.
func (e *Env) management(amqpURL string, ofStack func(stack.State) string) (*queues.Management, error) {
	guessed := false
	base, err := e.Setting(e.Flags.ManagementURL, "PULSE_MANAGEMENT_URL", func(s stack.State) string {
		guessed = true
		return ofStack(s)
	})
	if err != nil || base == "" {
		return nil, err
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fail.Usagef("for example: http://127.0.0.1:15672", "--management-url: not the base URL of a management API")
	}
	broker, err := url.Parse(rabbit.First(amqpURL))
	if err != nil {
		return nil, fail.Usagef("", "--amqp-url: cannot be parsed")
	}
	if u.User == nil {
		u.User = broker.User
	}
	vhost, err := url.PathUnescape(strings.TrimPrefix(broker.EscapedPath(), "/"))
	if err != nil || vhost == "" {
		vhost = "/"
	}
	return &queues.Management{Base: strings.TrimRight(u.String(), "/"), VHost: vhost, Guessed: guessed}, nil
}
