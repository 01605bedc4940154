package rabbitmq_test

import (
	"crypto/tls"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

func TestNewPublisherNamesEveryProblem(t *testing.T) {
	_, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{
		URL: "amqp://orders:s3cr3t@localhost:port/", Exchange: strings.Repeat("e", 256), Producer: strings.Repeat("p", 256),
		Window: -1, Channels: -2, ConfirmTimeout: -time.Second, Heartbeat: time.Millisecond, Topology: 7,
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, field := range []string{"URL: ", "Exchange: ", "Producer: ", "Window: ", "Channels: ", "ConfirmTimeout: ", "Heartbeat: ", "Topology: "} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("error does not name %s\n%v", field, err)
		}
	}
	if strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("error holds the password: %v", err)
	}
}

func TestParseAudiences(t *testing.T) {
	audiences, err := rabbitmq.ParseAudiences("a=one, b=two,a=three")
	if want := map[string][]string{"a": {"one", "three"}, "b": {"two"}}; err != nil || !reflect.DeepEqual(audiences, want) {
		t.Errorf("%v, %v", audiences, err)
	}
	if audiences, err := rabbitmq.ParseAudiences(""); audiences != nil || err != nil {
		t.Errorf("nothing: %v, %v", audiences, err)
	}
	for _, text := range []string{"a", "a=", "=one", "a=one,"} {
		if _, err := rabbitmq.ParseAudiences(text); err == nil || !strings.Contains(err.Error(), "is not TOPIC=QUEUE") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestNewPublisherRefusesTLSWithoutAMQPS(t *testing.T) {
	_, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{URL: "amqp://localhost", TLS: &tls.Config{MinVersion: tls.VersionTLS12}})
	if err == nil || !strings.Contains(err.Error(), "use amqps://") {
		t.Errorf("error %v does not say the way out", err)
	}
}
