package outbox

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// valid is a message that nothing is wrong with, at the limits.
func valid() Message {
	m := NewMessage(strings.Repeat("t", 255), make([]byte, 1000))
	m.Type = strings.Repeat("T", 255)
	m.Key = strings.Repeat("k", MaxKey)
	m.ContentType = strings.Repeat("c", 255)
	m.CorrelationID = strings.Repeat("~", 255)
	m.CausationID = strings.Repeat("!", 255)
	m.Headers = map[string]string{"tenant": "päpstlich", "x-own": ""}
	m.OccurredAt = time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC)
	m.AvailableAt = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	return m
}

func headers(n, size int) map[string]string {
	h := make(map[string]string, n)
	for i := range n {
		h[fmt.Sprintf("h%02d", i)] = strings.Repeat("v", size)
	}
	return h
}

func TestEnqueueRefusesBadMessages(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		ob.maxPayload = 1000
		long := strings.Repeat("x", 256)
		for name, c := range map[string]struct {
			spoil func(*Message)
			want  []string // what the problems begin with
		}{
			"no topic":              {func(m *Message) { m.Topic = "" }, []string{"Topic: is empty"}},
			"long topic":            {func(m *Message) { m.Topic = long }, []string{"Topic: 256 bytes"}},
			"long topic, no type":   {func(m *Message) { m.Topic, m.Type = long, "" }, []string{"Topic: 256 bytes"}},
			"long type":             {func(m *Message) { m.Type = long }, []string{"Type: 256 bytes"}},
			"long key":              {func(m *Message) { m.Key = long }, []string{"Key: 256 bytes"}},
			"key with NUL":          {func(m *Message) { m.Key = "a\x00b" }, []string{"Key: must be UTF-8"}},
			"type not UTF-8":        {func(m *Message) { m.Type = "\xff" }, []string{"Type: must be UTF-8"}},
			"long content type":     {func(m *Message) { m.ContentType = long }, []string{"ContentType: 256 bytes"}},
			"payload":               {func(m *Message) { m.Payload = make([]byte, 1001) }, []string{"Payload: 1001 bytes"}},
			"far future":            {func(m *Message) { m.AvailableAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }, []string{"AvailableAt: year 10000"}},
			"before our era":        {func(m *Message) { m.OccurredAt = time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC) }, []string{"OccurredAt: year -1"}},
			"reserved header":       {func(m *Message) { m.Headers = map[string]string{"pulse-x": ""} }, []string{`Headers: "pulse-x" is reserved`}},
			"CC":                    {func(m *Message) { m.Headers = map[string]string{"CC": "q"} }, []string{`Headers: "CC" is reserved`}},
			"x-death":               {func(m *Message) { m.Headers = map[string]string{"x-death": ""} }, []string{`Headers: "x-death" is reserved`}},
			"nameless header":       {func(m *Message) { m.Headers = map[string]string{"": "v"} }, []string{"Headers: a name is empty"}},
			"long header name":      {func(m *Message) { m.Headers = map[string]string{long: ""} }, []string{"Headers: name"}},
			"header with NUL":       {func(m *Message) { m.Headers = map[string]string{"a": "\x00"} }, []string{`Headers: "a" must be UTF-8`}},
			"too many headers":      {func(m *Message) { m.Headers = headers(MaxHeaders+1, 1) }, []string{"Headers: 65 headers"}},
			"too many header bytes": {func(m *Message) { m.Headers = headers(4, MaxHeaderBytes/4) }, []string{"Headers: 16396 bytes"}},
			"several": {func(m *Message) { m.Topic, m.Key, m.Headers = "", long, map[string]string{"BCC": "", "pulse-a": ""} },
				[]string{"Topic: ", "Key: ", `Headers: "BCC"`, `Headers: "pulse-a"`}},
		} {
			t.Run(name, func(t *testing.T) {
				m := valid()
				c.spoil(&m)
				err := inTx(t, ob, func(tx *sqlx.Tx) error { return ob.Enqueue(t.Context(), tx, m) })
				var invalid *InvalidMessageError
				if !errors.Is(err, ErrInvalidMessage) || !errors.As(err, &invalid) {
					t.Fatalf("%v, want an InvalidMessageError", err)
				}
				if invalid.Index != 0 || invalid.ID != m.ID.String() || len(invalid.Problems) != len(c.want) {
					t.Fatalf("%+v, want %d problems of message 0", invalid, len(c.want))
				}
				for i, want := range c.want {
					if !strings.HasPrefix(invalid.Problems[i], want) {
						t.Errorf("problem %q, want %q…", invalid.Problems[i], want)
					}
				}
			})
		}
	})
}

func TestEnqueueReportsAllProblemsAndWritesNothing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		twin := NewMessage("good", nil)
		noTopic, badKey := NewMessage("", nil), NewMessage("a.b", nil)
		badKey.Key = "\x00"
		var err error
		// Committed all the same: nothing may have been written before the check.
		commit(t, ob, func(tx *sqlx.Tx) {
			err = ob.Enqueue(t.Context(), tx, NewMessage("good", nil), noTopic, twin, badKey, twin)
		})
		for _, want := range []string{
			"invalid message 1 (" + noTopic.ID.String() + "): Topic: is empty",
			"invalid message 3 (" + badKey.ID.String() + "): Key: must be",
			"invalid message 4 (" + twin.ID.String() + "): ID: is also that of message 2",
		} {
			if !errors.Is(err, ErrInvalidMessage) || !strings.Contains(err.Error(), want) {
				t.Errorf("error %q lacks %q", err, want)
			}
		}
		if n, _, err := ob.Count(t.Context(), ListQuery{}, 10); n != 0 || err != nil {
			t.Errorf("%d rows, %v; want none", n, err)
		}
	})
}

func TestEnqueueAtLimits(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		m := valid()
		m.Headers = headers(MaxHeaders, MaxHeaderBytes/MaxHeaders-3)
		m.Payload = make([]byte, DefaultMaxPayload)
		enqueue(t, ob, m, Message{Topic: "t"})
		if _, err := ob.Get(t.Context(), m.ID); err != nil {
			t.Error(err)
		}
	})
}

func TestWithMaxPayload(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		if _, err := New(db, WithMaxPayload(0)); err == nil || !strings.Contains(err.Error(), "WithMaxPayload: 0") {
			t.Errorf("New: %v", err)
		}
		larger, err := New(db, WithMaxPayload(DefaultMaxPayload+1))
		if err != nil {
			t.Fatal(err)
		}
		m := Message{Topic: "t", ID: uuid.New(), Payload: make([]byte, DefaultMaxPayload+1)}
		if err := inTx(t, ob, func(tx *sqlx.Tx) error { return ob.Enqueue(t.Context(), tx, m) }); !errors.Is(err, ErrInvalidMessage) {
			t.Errorf("default limit: %v", err)
		}
		enqueue(t, larger, m)
	})
}

func TestNewErrors(t *testing.T) {
	_, db := postgres.unmigrated(t)
	other := sqlx.NewDb(db.DB, "otelsql-7")
	for name, c := range map[string]struct {
		db   *sqlx.DB
		opts []Option
		want string
	}{
		"no database":     {nil, nil, "db is nil"},
		"unknown driver":  {other, nil, `driver name "otelsql-7"; set it with WithDialect`},
		"unknown dialect": {db, []Option{WithDialect("oracle")}, `dialect "oracle"`},
	} {
		if _, err := New(c.db, c.opts...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want …%s…", name, err, c.want)
		}
	}
	// A wrapped driver works once the dialect is set.
	ob, err := New(other, WithDialect(PostgreSQL))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	enqueue(t, ob, Message{Topic: "t"})
	if n, _, err := ob.Count(t.Context(), ListQuery{Topic: "t"}, 10); n != 1 || err != nil {
		t.Errorf("%d rows, %v", n, err)
	}
}

func TestNewJSON(t *testing.T) {
	msg, err := NewJSON("order.created", map[string]any{"orderId": "o-1"})
	if err != nil || string(msg.Payload) != `{"orderId":"o-1"}` || msg.Topic != "order.created" || msg.ID == uuid.Nil {
		t.Errorf("%+v, %v", msg, err)
	}
	if _, err := NewJSON("order.created", math.NaN()); err == nil || !strings.Contains(err.Error(), `topic "order.created"`) {
		t.Errorf("what is no JSON: %v", err)
	}
}
