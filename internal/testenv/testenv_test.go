package testenv_test

import (
	"context"
	"errors"
	"os/exec"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func TestPostgresFreshAndDropped(t *testing.T) {
	var first string
	for _, name := range []string{"one", "two"} {
		t.Run(name, func(t *testing.T) {
			url := testenv.Postgres(t)
			if url == first {
				t.Fatal("two tests got one database")
			}
			first = url
			// Fails if the table already exists. The connection stays open
			// while the database is dropped.
			run(t, connect(t, url), "CREATE TABLE mine (id int)")
		})
	}
	if first == "" {
		return // both have been skipped
	}
	_, err := pgx.Connect(t.Context(), first)
	if pgErr := (*pgconn.PgError)(nil); !errors.As(err, &pgErr) || pgErr.Code != "3D000" {
		t.Fatalf("connecting to a database whose test has ended: %v; want 3D000 (no such database)", err)
	}
}

func dial(t *testing.T, url string) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func declare(t *testing.T, ch *amqp.Channel, queue string, passive bool) amqp.Queue {
	t.Helper()
	call := ch.QueueDeclare
	if passive {
		call = ch.QueueDeclarePassive
	}
	q, err := call(queue, true, false, false, false, nil)
	if err != nil {
		t.Fatalf("declare %s: %v", queue, err)
	}
	return q
}

func TestRabbitMQFreshAndDeleted(t *testing.T) {
	testenv.Management(t) // makes virtual hosts
	var first string
	for _, name := range []string{"one", "two"} {
		t.Run(name, func(t *testing.T) {
			url := testenv.RabbitMQ(t)
			if url == first {
				t.Fatal("two tests got one virtual host")
			}
			first = url
			ch := dial(t, url)
			if _, err := ch.QueueDeclarePassive("mine", true, false, false, false, nil); err == nil {
				t.Fatal("the virtual host of another test")
			}
			ch = dial(t, url)
			declare(t, ch, "mine", false)
			if err := ch.PublishWithContext(t.Context(), "", "mine", true, false, amqp.Publishing{}); err != nil {
				t.Fatal(err)
			}
		})
	}
	if first == "" {
		return // both have been skipped
	}
	if conn, err := amqp.Dial(first); err == nil {
		_ = conn.Close()
		t.Fatal("the virtual host of a test that has ended still answers")
	}
}

func TestPostgresServerKeepsDurableData(t *testing.T) {
	s := testenv.PostgresServer(t)
	run(t, connect(t, s.URL()), "CREATE TABLE kept (id serial)")
	for _, end := range []struct {
		name string
		do   func()
	}{
		{"stop", s.Stop}, {"stop immediately", s.StopImmediate}, {"kill", s.Kill},
		{"command", func() { shell(t, s.StopCommand()) }},
	} {
		run(t, connect(t, s.URL()), "INSERT INTO kept DEFAULT VALUES")
		end.do()
		if _, err := pgx.Connect(t.Context(), s.URL()); err == nil {
			t.Fatalf("%s: the server still answers", end.name)
		}
		shell(t, s.StartCommand())
	}
	var n int
	if err := connect(t, s.URL()).QueryRow(t.Context(), "SELECT count(*) FROM kept").Scan(&n); err != nil || n != 4 {
		t.Fatalf("%d rows, %v; want 4", n, err)
	}
}

func TestRabbitMQServerKeepsDurableData(t *testing.T) {
	s := testenv.RabbitMQServer(t)
	queue := testenv.UniqueName(t, "kept")
	declare(t, dial(t, s.URL()), queue, false)
	for _, end := range []struct {
		name string
		do   func()
	}{
		{"stop", s.Stop}, {"kill", s.Kill},
		{"command", func() { shell(t, s.StopCommand()) }},
	} {
		publish(t, s.URL(), queue)
		end.do()
		if _, err := amqp.Dial(s.URL()); err == nil {
			t.Fatalf("%s: the server still answers", end.name)
		}
		s.Start()
	}
	if q := declare(t, dial(t, s.URL()), queue, true); q.Messages != 3 {
		t.Fatalf("%d messages; want 3", q.Messages)
	}
}

// publish sends a persistent message and waits until it is confirmed.
func publish(t *testing.T, url, queue string) {
	t.Helper()
	ch := dial(t, url)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	c, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), "", queue, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent})
	if err != nil {
		t.Fatal(err)
	}
	if acked, err := c.WaitContext(t.Context()); err != nil || !acked {
		t.Fatalf("acked %v, %v", acked, err)
	}
}

func shell(t *testing.T, command string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}
