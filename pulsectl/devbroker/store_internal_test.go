package devbroker

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// TestDeliveryMarkedBeforeSent holds the broker's lock, so that the journal's own goroutine is stuck in its
// callback, and delivers a message meanwhile: by the time the client has it, the mark that it was delivered must be in
// the file.
func TestDeliveryMarkedBeforeSent(t *testing.T) {
	dir := t.TempDir()
	b := NewTest(t, func(c *Config) { c.DataDir = dir })
	conn, err := amqp.Dial(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	deliveries, err := ch.Consume("q", "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := func() []byte {
		content, err := os.ReadFile(filepath.Join(dir, "00000001.journal"))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	m := &message{key: "q", props: []byte{0, 0}, body: []byte("needle"), expiration: none}
	stored := b.enqueue(m, []*queue{b.vhosts["/"].queues["q"]}, true, nil).stored
	// Either the journal's goroutine writes this and is stuck afterwards, or it has been stuck since the declaration.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for waited := 0; !bytes.Contains(log(), []byte("needle")) && waited < 200; waited++ {
		<-tick.C
	}
	if err := b.store.write(stored); err != nil {
		t.Fatal(err)
	}
	before := len(log())
	b.settleQueues()
	if d := <-deliveries; string(d.Body) != "needle" {
		t.Fatalf("delivered %q", d.Body)
	}
	if after := len(log()); after <= before {
		t.Errorf("delivered, and the journal still has %d bytes", after)
	}
}
