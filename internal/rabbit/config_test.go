package rabbit

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestValidateNamesEveryProblem(t *testing.T) {
	err := Config{
		URL: "http://localhost", Name: strings.Repeat("n", 256), Heartbeat: time.Millisecond,
		DialTimeout: -1, CallTimeout: -1, MinBackoff: time.Minute,
	}.Validate()
	for _, field := range []string{"URL", "Name", "Heartbeat", "DialTimeout", "CallTimeout", "MinBackoff"} {
		if err == nil || !strings.Contains(err.Error(), field+": ") {
			t.Errorf("error does not name %s\n%v", field, err)
		}
	}
	if err := (Config{URL: "amqp://localhost"}).Validate(); err != nil {
		t.Errorf("defaults: %v", err)
	}
}

func TestValidateURL(t *testing.T) {
	for _, c := range []struct{ url, problem string }{
		{"amqp://user:password@host:5672/vhost", ""},
		{"amqps://host/%2f?auth_mechanism=external", ""},
		{"", "is empty"},
		{"amqp://", "names no host"},
		{"localhost:5672", "amqp://"},
		{"amqp://user:hunter2@host:port/", "cannot be parsed"},
		{"amqp://user:hunter2/@host/", "cannot be parsed"},
		{"amqp://user:5/hunter2@host/", "has an @ behind the host"},
		{"amqp://user:hunter2 @host/", "cannot be parsed"},
		{"amqp://user:hunter2@host/?heartbeat=soon", "heartbeat"},
		{"amqp://user:hunter%2@host/", "cannot be parsed"},
	} {
		err := Config{URL: c.url}.Validate()
		if c.problem == "" {
			if err != nil {
				t.Errorf("%s: %v", c.url, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: error %v, want one with %q", c.url, err, c.problem)
		}
		if err != nil && strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: error holds the password: %v", c.url, err)
		}
	}
}

func TestRedactURL(t *testing.T) {
	for raw, want := range map[string]string{
		"amqp://host:5672/vhost":                     "amqp://host:5672/vhost",
		"amqp://user:hunter2@host/vhost":             "amqp://user:xxxxx@host/vhost",
		"amqp://user@host/":                          "amqp://user@host/",
		"amqps://user:hunter2@host/?keyfile=hunter2": "amqps://user:xxxxx@host/",
		"amqp://user:hunt@er2@host/":                 "amqp://xxxxx@host/",
		"amqp://user:hunter/2@host/?password=hunter": "amqp://xxxxx@host/",
		"amqp://user:1/hunter2@host/":                "amqp://xxxxx@host/",
		"amqp://user:hunter#2@host/":                 "amqp://xxxxx@host/",
		"user:hunter2@host":                          "xxxxx",
		"nonsense":                                   "nonsense",
	} {
		if got := RedactURL(raw); got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
}

func TestRedactHidesEveryForm(t *testing.T) {
	const raw = "amqp://user:hunter%2F2@host/"
	reply := &amqp.Error{Code: 403, Reason: "no hunter/2 for hunter%2F2 at " + raw}
	err := redact(fmt.Errorf("dial: %w", reply), raw)
	if text := fmt.Sprintf("%v %+v", err, err); strings.Contains(text, "hunter") {
		t.Errorf("the password shows: %s", text)
	}
	var got *amqp.Error
	if !errors.Is(err, reply) || !errors.As(err, &got) || got.Code != 403 {
		t.Error("what the error is has been lost")
	}
	if plain := errors.New("plain"); redact(plain, raw) != plain {
		t.Error("an error without secrets was wrapped")
	}
}
