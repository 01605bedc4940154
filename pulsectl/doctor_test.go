package main

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// Scripts in which faults are planted for doctor to find, on PostgreSQL and
// RabbitMQ.
func TestScriptsDoctor(t *testing.T) {
	outboxDB, broker := testenv.Postgres, testenv.RabbitMQManaged
	run(t, "testdata/script/doctor", func(env *testscript.Env) error {
		t := env.T().(testing.TB)
		orders := outboxDB(t)
		amqpURL, management := broker(t)
		setServices(env, orders, testenv.Postgres(t), amqpURL)
		env.Setenv("MANAGEMENT", management)
		u, err := url.Parse(orders)
		if err != nil {
			return err
		}
		env.Setenv("OUTBOX_NAME", strings.TrimPrefix(u.Path, "/"))
		user := testenv.NewPostgresUser(t, orders)
		env.Setenv("ROLE", user.Name())
		env.Setenv("ROLE_URL", user.URL())
		env.Defer(func() { // a slot outlives the database
			user.Exec(`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '` + user.Name() + `'`)
		})
		front := rabbittest.NewTLS(t, amqpURL)
		env.Setenv("TLS_URL", front.URL)
		env.Setenv("TLS_CA", front.CAFile)
		env.Setenv("TLS_CERT", front.CertFile)
		env.Setenv("TLS_KEY", front.KeyFile)
		env.Values["tools"], env.Values["t"] = new(tools), t
		return nil
	})
}

// amqp delete QUEUE | unbind QUEUE KEY | declare QUEUE [ARGUMENT=VALUE...]
func amqpCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: amqp delete QUEUE | unbind QUEUE KEY | declare QUEUE [ARGUMENT=VALUE...]")
	}
	conn, ch := channel(ts)
	defer conn.Close()
	var err error
	switch queue := args[1]; args[0] {
	case "delete":
		_, err = ch.QueueDelete(queue, false, false, false)
	case "unbind":
		err = ch.QueueUnbind(queue, args[2], "pulse.events", nil)
	case "declare":
		table := amqp.Table{}
		for _, arg := range args[2:] {
			name, value, _ := strings.Cut(arg, "=")
			table[name] = value
			if n, err := strconv.Atoi(value); err == nil {
				table[name] = n
			}
		}
		_, err = ch.QueueDeclare(queue, true, false, false, false, table)
	}
	ts.Check(err)
}

// policy PATTERN JSON: sets a policy on the queues of the script's virtual host.
func policy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: policy PATTERN JSON")
	}
	var definition map[string]any
	ts.Check(json.Unmarshal([]byte(args[1]), &definition))
	testenv.SetPolicy(ts.Value("t").(testing.TB), ts.Getenv("PULSE_AMQP_URL"), args[0], definition)
}

// transaction VARIABLE: a transaction is left open, with a snapshot, in the
// database whose URL is in the environment variable.
func transaction(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: transaction VARIABLE")
	}
	db, _, err := database.Open(ts.Getenv(args[0]), "forgotten")
	ts.Check(err)
	ts.Defer(func() { _ = db.Close() })
	tx, err := db.Begin()
	ts.Check(err)
	ts.Defer(func() { _ = tx.Rollback() })
	var id int64
	ts.Check(tx.QueryRow(`SELECT txid_current()`).Scan(&id))
}
