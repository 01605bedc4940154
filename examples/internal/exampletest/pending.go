package exampletest

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/examples/notifications"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// listsPending tests that the program at path prints the messages that wait and that it
// could not handle: by the contract, and by its own types.
func listsPending(t *testing.T, path string) {
	t.Helper()
	broker := devbroker.NewTest(t)
	ch := openChannel(t, broker.URL())
	const letters = notifications.OrderCreatedTopic + ".dlq"
	list := func() (code int, text string) {
		var output Journal
		err := startProgram(t, exec.Command(path, "pending"), &output, "PULSE_INBOX_DB=sqlite:"+t.TempDir()+"/inbox.db", "PULSE_AMQP_URL="+broker.URL()).Wait()
		return exitCode(t, err), output.String()
	}
	if code, text := list(); code != 0 || !strings.Contains(text, "0 messages looked at, 0 would be dead letters") {
		t.Errorf("nothing waits: exit code %d\n%s", code, text)
	}
	put := func(queue, id, amount string) {
		t.Helper()
		body := `{"eventId":"` + id + `","eventType":"OrderCreated","occurredAt":"2026-01-15T09:30:00Z","correlationId":"c","orderId":"` + id + `","customerId":"c","amount":` + amount + `}`
		_, err := ch.QueueDeclare(queue, true, false, false, false, nil)
		err = errors.Join(err, ch.PublishWithContext(t.Context(), "", queue, false, false, amqp.Publishing{
			MessageId: id, Type: notifications.OrderCreatedType, ContentType: "application/json", Body: []byte(body), Headers: amqp.Table{"pulse-topic": notifications.OrderCreatedTopic},
		}))
		if err != nil {
			t.Fatal(err)
		}
	}
	const good, breach, foreign = "0198c0de-7a10-7f00-8a44-000000000001", "0198c0de-7a10-7f00-8a44-000000000002", "0198c0de-7a10-7f00-8a44-000000000003"
	put(letters, good, "1")
	put(letters, breach, `"1"`)
	put(notifications.OrderCreatedTopic, foreign, "1.001") // the contract allows it
	code, text := list()
	for _, want := range []string{
		letters + "\tdead-lettered\t" + breach + "\tOrderCreated\t$.amount: ",
		notifications.OrderCreatedTopic + "\tqueued\t" + foreign + "\tOrderCreated\tdecode OrderCreated: ",
		"3 messages looked at, 2 would be dead letters",
	} {
		if code != 1 || !strings.Contains(text, want) {
			t.Errorf("exit code %d, want 1 and %q:\n%s", code, want, text)
		}
	}
}
