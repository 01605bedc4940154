package devbroker

import (
	"errors"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestBrokerEndsWhenDataDirFails: the journal has tests of its own for this case.
func TestBrokerEndsWhenDataDirFails(t *testing.T) {
	b := NewTest(t, func(c *Config) { c.DataDir = t.TempDir() })
	conn, err := amqp.Dial(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	broken := errors.New("no space left on device")

	b.mu.Lock()
	b.giveUp(broken)
	b.giveUp(errors.New("a second thought"))
	b.mu.Unlock()
	for what, happened := range map[string]func() error{
		"Done":             func() error { <-b.Done(); return nil },
		"connection.close": func() error { return <-closed },
	} {
		result := make(chan error, 1)
		go func() { result <- happened() }()
		select {
		case err := <-result:
			var e *amqp.Error
			if errors.As(err, &e) && e.Code != amqp.InternalError {
				t.Errorf("closed with %v", e)
			}
		case <-time.After(time.Minute):
			t.Errorf("no %s", what)
		}
	}
	if err := b.Err(); !errors.Is(err, broken) {
		t.Errorf("Err: %v", err)
	}
	if err := b.Up(); !errors.Is(err, broken) {
		t.Errorf("Up: %v", err)
	}
	if _, err := amqp.Dial(b.URL()); err == nil {
		t.Error("still listening")
	}
}
