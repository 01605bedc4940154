package faults_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// F32: the disk of both services' database fills up: first so that tables cannot
// grow, then so that not even the write-ahead log can, which ends the server.
func TestF32DatabaseDiskFull(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresServer(t)
	disk := server.OnDisk(dataDirectory(t, server.URL()), 512<<20)
	run(t, server.URL(), `CREATE DATABASE orders`, `CREATE DATABASE notifications`)
	s := newSystemOn(t, serverURL(t, server.URL(), hostOf(t, server.URL()), "orders"),
		serverURL(t, server.URL(), hostOf(t, server.URL()), "notifications"), testenv.RabbitMQ(t))
	consumer := s.startNotifications()
	broker := rabbittest.NewProxy(t, s.amqpURL)
	orders := s.startOrders(func(c *stdlib.OrdersConfig) { c.AMQPURL = broker.URL() })
	s.place(10)
	s.awaitCount(10, s.notificationsDB, `notifications`)
	s.startTap() // takes messages of all topics
	broker.Block("the test wants a backlog")
	s.place(200)

	disk.Fill()
	s.fillOutbox()
	broker.Restore()
	load := startFailingLoad(t, orders.url, 2)
	load.awaitFailures(20)
	testenv.Eventually(t, patience, "relay and consumer to say why", func() bool {
		r, c := orders.health(t).Relay, consumer.health(t).Consumer
		return r.State == "degraded" && strings.Contains(r.LastError, "disk full") &&
			c.State == "degraded" && strings.Contains(c.LastError, "disk full")
	})
	disk.Free()
	load.await(20)
	s.awaitCount(210, s.notificationsDB, `notifications`)

	disk.Fill()
	fillLog(t, server.URL())
	load.awaitFailures(60)
	testenv.Eventually(t, patience, "orders to say that there is no database", func() bool { return orders.health(t).Status == "unready" })
	disk.Free()
	more := load.count() + 20
	testenv.Eventually(t, patience, "orders to be taken again", func() bool {
		server.Start() // where it has ended: there was no room to recover in
		return load.count() >= more
	})
	s.requireUnhurt(load.end(), consumer)
}

// fillOutbox enqueues until the table cannot grow.
func (s *system) fillOutbox() {
	s.t.Helper()
	for range 10_000 {
		tx := s.ordersDB.MustBegin()
		err := s.outbox.Enqueue(s.t.Context(), tx, outbox.NewMessage(otherTopic, bytes.Repeat([]byte("x"), 500)))
		if err == nil {
			err = tx.Commit()
		}
		_ = tx.Rollback()
		if sqldb.Judge(err) == sqldb.Full {
			return
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	s.t.Fatal("the table found room: nothing was tested")
}

func dataDirectory(t *testing.T, server string) (dir string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), `SHOW data_directory`).Scan(&dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// fillLog writes to the write-ahead log until the server fails.
func fillLog(t *testing.T, server string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for range 1000 { // megabytes, twice what the disk holds
		if _, err := conn.Exec(t.Context(), `SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))`); err != nil {
			t.Logf("the server has failed: %v", err)
			return
		}
	}
	t.Fatal("the write-ahead log found room: nothing was tested")
}
