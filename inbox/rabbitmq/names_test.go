package rabbitmq_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
)

func TestQueueNames(t *testing.T) {
	for _, test := range []struct {
		delays []time.Duration
		want   string
	}{
		{nil, "1s 5s 30s 2m 10m"},
		{[]time.Duration{time.Hour, 90 * time.Minute, 20 * time.Millisecond, 1500 * time.Millisecond, 10 * time.Second, 24 * time.Hour, 61 * time.Second},
			"20ms 1.5s 10s 1m1s 1h 1h30m 24h"},
	} {
		names := rabbitmq.QueueNames("order.created", test.delays)
		if names.Queue != "order.created" || names.DeadLetters != "order.created.dlq" {
			t.Errorf("names %+v", names)
		}
		var got []string
		for _, retryQueue := range names.Retry {
			delay, found := strings.CutPrefix(retryQueue.Queue, "order.created.retry.")
			if parsed, err := time.ParseDuration(delay); !found || err != nil || parsed != retryQueue.Delay {
				t.Errorf("retry queue %v is named %s", retryQueue.Delay, retryQueue.Queue)
			}
			got = append(got, delay)
		}
		if fmt.Sprint(strings.Join(got, " ")) != test.want {
			t.Errorf("delays %v, want %s", got, test.want)
		}
	}
}

func TestNewSourceNamesEveryProblem(t *testing.T) {
	_, err := rabbitmq.NewSource(rabbitmq.SourceConfig{
		URL:            "redis://user:p@ss:word@host",
		Queue:          strings.Repeat("q", 250),
		Exchange:       "amq.topic",
		Topics:         []string{"order.created", " "},
		QueueType:      7,
		RetryDelays:    []time.Duration{time.Second, time.Second, time.Microsecond, 1000 * time.Hour, 2000 * time.Hour},
		Topology:       9,
		Consumer:       strings.Repeat("c", 300),
		ConfirmTimeout: -1,
		Heartbeat:      time.Millisecond,
		DialTimeout:    -1,
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"URL:", "its retry queue", "Exchange:", "Topics[1]:", "QueueType:", "RetryDelays[1]:", "RetryDelays[2]:", "RetryDelays[4]:",
		"Topology:", "Consumer:", "ConfirmTimeout:", "Heartbeat:", "DialTimeout:",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no mention of %q in: %v", want, err)
		}
	}
	for _, not := range []string{"RetryDelays[0]", "RetryDelays[3]", "Topics[0]", "p@ss", "ss:word"} {
		if strings.Contains(err.Error(), not) {
			t.Errorf("mentions %q: %v", not, err)
		}
	}
	if _, err := rabbitmq.NewSource(rabbitmq.SourceConfig{}); err == nil || !strings.Contains(err.Error(), "Queue: is empty") || !strings.Contains(err.Error(), "URL:") {
		t.Errorf("the zero value: %v", err)
	}
}
