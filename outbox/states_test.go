package outbox

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// drawing is the diagram of docs/states.md: labels of the moves by "from to".
func drawing(t *testing.T) (moves map[string][]string, states []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/states.md")
	if err != nil {
		t.Fatal(err)
	}
	moves = make(map[string][]string)
	for _, m := range regexp.MustCompile(`(?m)^ +(\S+) --> (\S+): (.+)$`).FindAllStringSubmatch(string(text), -1) {
		moves[m[1]+" "+m[2]] = append(moves[m[1]+" "+m[2]], m[3])
		states = append(states, m[1], m[2])
	}
	return moves, set(slices.DeleteFunc(states, func(s string) bool { return s == "[*]" }))
}

func set(words []string) []string {
	slices.Sort(words)
	return slices.Compact(words)
}

// The states are written down three times; all must agree.
func TestStatesAgree(t *testing.T) {
	var constants []string
	for _, s := range Statuses() {
		constants = append(constants, string(s))
	}
	constants = set(constants)
	if _, drawn := drawing(t); !slices.Equal(drawn, constants) {
		t.Errorf("constants %v, docs/states.md %v", constants, drawn)
	}
	for _, d := range []sqldb.Dialect{sqldb.PostgreSQL, sqldb.SQLite} {
		steps, err := Schema(Dialect(d))
		if err != nil {
			t.Fatal(err)
		}
		check := regexp.MustCompile(`outbox_messages_status CHECK \(status IN (.+)\)`).FindStringSubmatch(steps[0].SQL)[1]
		var stored []string
		for _, m := range regexp.MustCompile(`'(\w+)'`).FindAllStringSubmatch(check, -1) {
			stored = append(stored, m[1])
		}
		if stored = set(stored); !slices.Equal(stored, constants) {
			t.Errorf("%s: CHECK %v, constants %v", d, stored, constants)
		}
	}
}

func TestParseStatus(t *testing.T) {
	for _, s := range Statuses() {
		if got, err := ParseStatus(string(s)); got != s || err != nil {
			t.Errorf("%s: %s, %v", s, got, err)
		}
	}
	if _, err := ParseStatus("Pending"); err == nil {
		t.Error("Pending: no error")
	}
}

// put stores a message that has come to the given state with the given number of attempts.
func put(t testing.TB, ob *Outbox, m Message, s Status, attempts int) uuid.UUID {
	t.Helper()
	if m.ID == uuid.Nil {
		m.ID = uuid.New()
	}
	enqueue(t, ob, m)
	now := clock(ob.db, "")
	ob.db.MustExec(`UPDATE outbox_messages SET status = $1, attempts = $2,
		last_error = CASE WHEN $2 > 0 THEN 'broker said no' ELSE '' END,
		published_at = CASE WHEN $1 = 'published' THEN `+now+` END,
		discarded_at = CASE WHEN $1 = 'discarded' THEN `+now+` END
		WHERE id = $3`, s, attempts, m.ID)
	return m.ID
}

// Retry, Discard and Purge make the transitions of the diagram, and no others.
func TestStatesTransitions(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		moves, _ := drawing(t)
		for label, move := range map[string]func(id uuid.UUID) (int, error){
			"Retry":   func(id uuid.UUID) (int, error) { return ob.Retry(t.Context(), id) },
			"Discard": func(id uuid.UUID) (int, error) { return ob.Discard(t.Context(), "test", id) },
			"Purge": func(uuid.UUID) (int, error) {
				n, err := ob.Purge(t.Context(), 0)
				return int(n), err
			},
		} {
			for _, from := range Statuses() {
				t.Run(fmt.Sprint(label, " ", from), func(t *testing.T) {
					db.MustExec(`DELETE FROM outbox_messages`)
					id := put(t, ob, Message{Topic: "t"}, from, 3)
					n, err := move(id)
					to := "[*]"
					r, getErr := ob.Get(t.Context(), id)
					if getErr == nil {
						to = string(r.Status)
					} else if !errors.Is(getErr, ErrNotFound) {
						t.Fatal(getErr)
					}
					if drawn := slices.Contains(moves[string(from)+" "+to], label); drawn != (n == 1) {
						t.Errorf("moved %d to %s; drawn: %v", n, to, drawn)
					}
					if n == 0 && to != string(from) {
						t.Errorf("moved to %s, but none is reported", to)
					}
					wantErr := n == 0 && label != "Purge" && !(label == "Discard" && from == Discarded)
					if errors.Is(err, ErrStatus) != wantErr {
						t.Errorf("error %v, want ErrStatus: %v", err, wantErr)
					}
				})
			}
		}
	})
}

// The database itself keeps the columns of a state together.
func TestSchemaRefusesInvalidStates(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		id := put(t, ob, Message{Topic: "t"}, Pending, 0)
		for _, set := range []string{
			`status = 'sent'`,
			`status = 'published'`,
			`status = 'discarded'`,
			`status = 'dead', attempts = 0`,
			`published_at = created_at`,
			`attempts = -1`,
			`bucket = 64`,
			`created_at = NULL`,
			`topic = ''`,
			`headers = '[]'`,
			`key = '` + strings.Repeat("k", 256) + `'`,
		} {
			err := inTx(t, ob, func(tx *sqlx.Tx) error {
				_, err := tx.Exec(`UPDATE outbox_messages SET `+set+` WHERE id = $1`, id)
				return err
			})
			if err == nil {
				t.Errorf("%s: no error", set)
			}
		}
	})
}
