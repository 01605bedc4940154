package relay

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

const (
	producerGrants = "GRANT USAGE ON SCHEMA public TO shop;"
	relayGrants    = "GRANT USAGE ON SCHEMA public TO shop_relay;"
)

// refusals are statements of docs/sql-contract.md that the database refuses, so
// that their transaction can be undone.
var refusals = []struct{ about, statement, state, says string }{
	{"no topic", `(type, payload) VALUES ('T', '')`, "23502", `"topic"`},
	{"no type", `(topic, payload) VALUES ('t', '')`, "23502", `"type"`},
	{"no payload", `(topic, type) VALUES ('t', 'T')`, "23502", `"payload"`},
	{"empty topic", `(topic, type, payload) VALUES ('', 'T', '')`, "23514", "outbox_messages_topic"},
	{"long topic", `(topic, type, payload) VALUES (repeat('ü', 128), 'T', '')`, "23514", "outbox_messages_topic"},
	{"empty type", `(topic, type, payload) VALUES ('t', '', '')`, "23514", "outbox_messages_type"},
	{"long key", `(topic, type, key, payload) VALUES ('t', 'T', repeat('k', 256), '')`, "23514", "outbox_messages_key"},
	{"long content type", `(topic, type, content_type, payload) VALUES ('t', 'T', repeat('k', 256), '')`, "23514", "outbox_messages_content_type"},
	{"long correlation id", `(topic, type, correlation_id, payload) VALUES ('t', 'T', repeat('k', 256), '')`, "23514", "outbox_messages_correlation_id"},
	{"long causation id", `(topic, type, causation_id, payload) VALUES ('t', 'T', repeat('k', 256), '')`, "23514", "outbox_messages_causation_id"},
	{"headers in a list", `(topic, type, headers, payload) VALUES ('t', 'T', '[]', '')`, "23514", "outbox_messages_headers"},
	{"headers that are no JSON", `(topic, type, headers, payload) VALUES ('t', 'T', '{a: 1}', '')`, "22P02", "json"},
	{"an id in text", `(id, topic, type, payload) VALUES ('order-1', 't', 'T', '')`, "22P02", "uuid"},
	{"an id twice", `(id, topic, type, payload) SELECT '018f3c3e-8f5a-7c6e-9d2b-1a2b3c4d5e6f', 't', 'T', '' FROM generate_series(1, 2)`, "23505", "outbox_messages_id_key"},
	{"an escape in a text for bytea", `(topic, type, payload) VALUES ('t', 'T', '{"text":"a\nb"}')`, "22P02", "bytea"},
	{"no time", `(topic, type, occurred_at, payload) VALUES ('t', 'T', 'last week', '')`, "22007", "timestamp"},
	{"no day", `(topic, type, occurred_at, payload) VALUES ('t', 'T', '2026-02-30', '')`, "22008", "out of range"},
	{"a bucket", `(topic, type, payload, bucket) VALUES ('t', 'T', '', 1)`, "428C9", "bucket"},
	{"a seq", `(topic, type, payload, seq) VALUES ('t', 'T', '', 1)`, "428C9", "seq"},
	{"a status", `(topic, type, payload, status) VALUES ('t', 'T', '', 'dead')`, "42501", "permission denied"},
	{"attempts", `(topic, type, payload, attempts) VALUES ('t', 'T', '', 1)`, "42501", "permission denied"},
	{"a clock of its own", `(topic, type, payload, created_at) VALUES ('t', 'T', '', 'tomorrow')`, "42501", "permission denied"},
}

// fates are rows that can be stored, and what becomes of them. The key is added.
var fates = []struct {
	about, columns, values string
	status                 string
	attempts               int
	says                   string // in last_error
}{
	{"payload of another kind", `payload`, `convert_to('{"a":1', 'UTF8')`, "dead", 1, "payload: is not JSON, as content_type application/json says: unexpected end of JSON input (byte 6)"},
	{"a backslash lost", `payload`, `'{"path":"C:\\dir"}'`, "dead", 1, `invalid character 'd' in string escape code`},
	{"text that is not UTF-8", `payload`, `'\x22ff22'`, "dead", 1, "not UTF-8"},
	{"a number in headers", `payload, headers`, `'{}', '{"n": 5}'`, "dead", 1, `headers: "n" must be a string, not 5`},
	{"null in headers", `payload, headers`, `'{}', '{"n": null}'`, "dead", 1, `headers: "n" must be a string, not null`},
	{"a reserved header", `payload, headers`, `'{}', '{"CC": "x"}'`, "dead", 1, `headers: "CC" is reserved`},
	{"a header of the contract", `payload, headers`, `'{}', '{"pulse-key": "x"}'`, "dead", 1, `headers: "pulse-key" is reserved`},
	{"a long name of a header", `payload, headers`, `'{}', jsonb_build_object(repeat('h', 256), 'x')`, "dead", 1, "256 bytes"},
	{"too many headers for a frame", `payload, headers`, `'{}', jsonb_build_object('h', repeat('x', 200000))`, "dead", 1, "one frame of this broker holds"},
	{"an infinite time", `payload, occurred_at`, `'{}', 'infinity'`, "dead", 1, "occurred_at: is no point in time"},
	{"a time far away", `payload, occurred_at`, `'{}', '12026-01-01'`, "dead", 1, "occurred_at: year 12026; must be 1 to 9999"},
	{"a time long ago", `payload, occurred_at`, `'{}', '0044-03-15 BC'`, "dead", 1, "occurred_at: year -43; must be 1 to 9999"},
	{"a clock that is fast", `payload, occurred_at`, `'{}', clock_timestamp() + interval '100 years'`, "published", 0, ""},
	{"an unknown content type", `payload, content_type`, `'\x00ff', 'no/such thing;;'`, "published", 0, ""},
	{"no content type", `payload, content_type`, `'\x00ff', ''`, "published", 0, ""},
	{"an empty payload", `payload`, `''`, "published", 0, ""},
	{"a correlation id of any text", `payload, correlation_id`, `'{}', E'a\nü'`, "published", 0, ""},
	{"a delay of a century", `payload, available_at`, `'{}', clock_timestamp() + interval '100 years'`, "pending", 0, ""},
	{"a delay without end", `payload, available_at`, `'{}', 'infinity'`, "pending", 0, ""},
	{"due since ever", `payload, available_at`, `'{}', '-infinity'`, "published", 0, ""},
}

// What a producer in plain SQL writes wrongly is refused, or dead with the reason,
// and holds up nothing else. Producer and relay have no more rights than the
// contract grants.
func TestContract(t *testing.T) {
	outboxDB, broker := testenv.Postgres(t), testenv.RabbitMQ(t)
	admin := open(t, outboxDB)
	migrate(t, admin)
	admin.MustExec(`CREATE TABLE orders (id text PRIMARY KEY, version integer NOT NULL)`)
	producer, relay := role(t, outboxDB, producerGrants, "shop"), role(t, outboxDB, relayGrants, "shop_relay")
	producer.Exec(`GRANT SELECT, INSERT, UPDATE ON orders TO ` + producer.Name())
	db := open(t, producer.URL())

	for _, c := range refusals {
		_, err := db.Exec(`INSERT INTO outbox_messages ` + c.statement)
		if got := sqldb.SQLState(err); got != c.state || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %s and %q", c.about, err, c.state, c.says)
		}
	}
	for _, statement := range []string{`UPDATE outbox_messages SET topic = 't'`, `DELETE FROM outbox_messages`, `SELECT id FROM outbox_messages`} {
		if _, err := db.Exec(statement); sqldb.SQLState(err) != "42501" {
			t.Errorf("%s: %v; want 42501", statement, err)
		}
	}

	exchange := testenv.UniqueName(t, "shop")
	start(t, relay.URL(), broker, exchange, false)
	written := 0
	good := func() { // in every bucket
		t.Helper()
		statement := contractBlock(t, "INSERT INTO outbox_messages (id,")
		for range 64 {
			written++
			order := fmt.Sprint("order-", written)
			db.MustExec(statement, fmt.Sprintf("018f3c3e-8f5a-7c6e-9d2b-%012d", written), order, []byte(`{"a":"\\"}`), `{"tenant":"acme"}`, "checkout-1")
		}
	}
	good()
	for _, c := range fates {
		db.MustExec(`INSERT INTO outbox_messages (topic, type, key, `+c.columns+`) VALUES ('t', 'T', $1, `+c.values+`)`, c.about)
		// The next message of the key is held back by a dead one, and by no other.
		db.MustExec(`INSERT INTO outbox_messages (topic, type, key, payload) VALUES ('behind', 'T', $1, '')`, c.about)
	}
	db.MustExec(`INSERT INTO outbox_messages (topic, type, key, payload) VALUES ('nobody.listens', 'T', 'unroutable', '')`)
	good()

	testenv.Eventually(t, patience, "all that is in order to be published", func() bool {
		return number(t, admin, `SELECT count(*) FROM outbox_messages WHERE key LIKE 'order-%' AND status = 'published'`) == written
	})
	for _, c := range fates {
		of := func(topic string) (s state) {
			t.Helper()
			if err := admin.Get(&s, `SELECT status, attempts, last_error FROM outbox_messages WHERE key = $1 AND topic = $2`, c.about, topic); err != nil {
				t.Fatal(err)
			}
			return s
		}
		testenv.Eventually(t, patience, c.about+" to be "+c.status, func() bool { return of("t").Status == c.status })
		if s := of("t"); s.Attempts != c.attempts || !strings.Contains(s.LastError, c.says) {
			t.Errorf("%s: %v; want %d attempts and %q", c.about, s, c.attempts, c.says)
		}
		if c.status == "dead" {
			if s := of("behind"); s.Status != "pending" || s.Attempts != 0 {
				t.Errorf("behind %s: %v; want it held back", c.about, s)
			}
			continue
		}
		testenv.Eventually(t, patience, "the message behind "+c.about, func() bool { return of("behind").Status == "published" })
	}
	testenv.Eventually(t, patience, "the missing queue to be noticed", func() bool {
		s := look(t, admin, "unroutable")
		return s.Status == "pending" && s.Attempts > 0 && strings.Contains(s.LastError, "no queue is bound")
	})
}

func number(t *testing.T, db *sqlx.DB, query string) (n int) {
	t.Helper()
	if err := db.Get(&n, query); err != nil {
		t.Fatal(err)
	}
	return n
}

// The same on SQLite, where the producer computes the bucket.
func TestContractSQLite(t *testing.T) {
	url := "sqlite:" + t.TempDir() + "/shop.db"
	db := open(t, url)
	migrate(t, db)
	for _, c := range []struct{ about, statement, says string }{
		{"no bucket", `(topic, type, payload) VALUES ('t', 'T', '')`, "outbox_messages.bucket"},
		{"no such bucket", `(topic, type, payload, bucket) VALUES ('t', 'T', '', 64)`, "outbox_messages_bucket"},
		{"a bucket in text", `(topic, type, payload, bucket) VALUES ('t', 'T', '', 'x')`, "outbox_messages_bucket"},
		{"no topic", `(type, payload, bucket) VALUES ('T', '', 1)`, "outbox_messages.topic"},
		{"long topic", `(topic, type, payload, bucket) VALUES (printf('%.256c', 't'), 'T', '', 1)`, "outbox_messages_topic"},
		{"an id in text", `(id, topic, type, payload, bucket) VALUES ('order-1', 't', 'T', '', 1)`, "outbox_messages_id"},
		{"an id in capitals", `(id, topic, type, payload, bucket) VALUES ('018F3C3E-8F5A-7C6E-9D2B-1A2B3C4D5E6F', 't', 'T', '', 1)`, "outbox_messages_id"},
		{"headers that are no JSON", `(topic, type, headers, payload, bucket) VALUES ('t', 'T', '{a: 1}', '', 1)`, "outbox_messages_headers"},
		{"headers in a list", `(topic, type, headers, payload, bucket) VALUES ('t', 'T', '[]', '', 1)`, "outbox_messages_headers"},
		{"a time in another form", `(topic, type, occurred_at, payload, bucket) VALUES ('t', 'T', '2026-01-31T08:00:00Z', '', 1)`, "outbox_messages_occurred_at"},
		{"no day", `(topic, type, available_at, payload, bucket) VALUES ('t', 'T', '2026-02-30 08:00:00.000000', '', 1)`, "outbox_messages_available_at"},
	} {
		if _, err := db.Exec(`INSERT INTO outbox_messages ` + c.statement); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %q", c.about, err, c.says)
		}
	}
	start(t, url, devbroker.NewTest(t).URL(), "shop", false)
	statement := contractBlock(t, "INSERT INTO outbox_messages (topic,")
	for _, c := range []struct {
		key     string
		bucket  int
		payload any
		status  string
		says    string
	}{
		{"order-1", 46, []byte(`{"a":1}`), "published", ""}, // buckets of testdata/buckets.json
		{"order-2", 24, `{"text":"\\ is two"}`, "published", ""},
		{"customer-123", 57, []byte(`{"a":`), "dead", "payload: is not JSON"},
		{"aggregate-0", 47, 5, "published", ""},
	} {
		db.MustExec(statement, "t", "T", c.key, c.payload, c.bucket)
		testenv.Eventually(t, patience, c.key, func() bool { return look(t, db, c.key).Status == c.status })
		if s := look(t, db, c.key); !strings.Contains(s.LastError, c.says) {
			t.Errorf("%s: %v; want %q", c.key, s, c.says)
		}
	}
}
