package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// change is a business row and the message about it.
type change struct{ ID uuid.UUID }

// model is what a transaction should leave behind: a stack of frames, one for
// the transaction and one for each open savepoint.
type model struct{ frames [][]change }

func (m *model) top() *[]change { return &m.frames[len(m.frames)-1] }

func (m *model) pending() (all []change) { return slices.Concat(m.frames...) }

// runCase runs one transaction of random steps on tx and returns its steps,
// for a failure to be read, and what it is to leave behind if it commits.
func runCase(t *testing.T, ob *Outbox, tx *sqlx.Tx, rnd *rand.Rand) (steps []string, left []change) {
	t.Helper()
	m := model{frames: [][]change{nil}}
	exec := func(query string, args ...any) {
		if _, err := tx.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatalf("%s: %v, after %v", query, err, steps)
		}
	}
	for range 1 + rnd.IntN(12) {
		depth := len(m.frames) - 1
		switch step := rnd.IntN(10); {
		case step < 5: // some changes and their messages, in one Enqueue
			var msgs []Message
			for range rnd.IntN(4) {
				c := change{ID: uuid.New()}
				exec(`INSERT INTO things (id) VALUES ($1)`, c.ID)
				msgs = append(msgs, Message{ID: c.ID, Topic: "thing.made", Key: fmt.Sprint(rnd.IntN(3))})
				*m.top() = append(*m.top(), c)
			}
			if err := ob.Enqueue(t.Context(), tx, msgs...); err != nil {
				t.Fatalf("enqueue: %v, after %v", err, steps)
			}
			steps = append(steps, fmt.Sprintf("enqueue %d", len(msgs)))
		case step < 7:
			exec(fmt.Sprintf(`SAVEPOINT s%d`, depth))
			m.frames = append(m.frames, nil)
			steps = append(steps, "savepoint")
		case depth > 0 && step < 8:
			exec(fmt.Sprintf(`RELEASE SAVEPOINT s%d`, depth-1))
			kept := *m.top()
			m.frames = m.frames[:depth]
			*m.top() = append(*m.top(), kept...)
			steps = append(steps, "release")
		case depth > 0: // back to any open savepoint, at times out of a failed statement
			if all := m.pending(); len(all) > 0 && rnd.IntN(2) == 0 {
				err := ob.Enqueue(t.Context(), tx, Message{ID: all[rnd.IntN(len(all))].ID, Topic: "again"})
				if !errors.Is(err, ErrDuplicateID) {
					t.Fatalf("enqueue again: %v, after %v", err, steps)
				}
				steps = append(steps, "duplicate")
			}
			to := rnd.IntN(depth)
			exec(fmt.Sprintf(`ROLLBACK TO SAVEPOINT s%d`, to))
			m.frames = append(m.frames[:to+1], nil)
			steps = append(steps, fmt.Sprintf("rollback to %d", to))
		}
	}
	return steps, m.pending()
}

// Whatever a transaction did before it ended, the outbox has exactly the messages
// of the changes that are there.
func TestEnqueueFollowsTransaction(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		db.MustExec(`CREATE TABLE things (id uuid PRIMARY KEY)`)
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 0))
		want := make(map[uuid.UUID]bool)
		for range 300 {
			tx := db.MustBegin()
			steps, left := runCase(t, ob, tx, rnd)
			if rnd.IntN(3) == 0 {
				if err := tx.Rollback(); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if err := tx.Commit(); err != nil {
				t.Fatalf("commit: %v, after %v", err, steps)
			}
			for _, c := range left {
				want[c.ID] = true
			}
		}
		requireSameIDs(t, db, want)
	})
}

// requireSameIDs compares outbox, changes and model; nil stands for no model.
func requireSameIDs(t *testing.T, db *sqlx.DB, want map[uuid.UUID]bool) {
	t.Helper()
	var stored, things []uuid.UUID
	if err := errors.Join(
		db.Select(&stored, `SELECT id FROM outbox_messages ORDER BY id`),
		db.Select(&things, `SELECT id FROM things ORDER BY id`)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(stored, things) {
		t.Errorf("%d messages tell of %d changes", len(stored), len(things))
	}
	if want == nil {
		return
	}
	ids := slices.SortedFunc(maps.Keys(want), uuidOrder)
	if len(ids) == 0 || !slices.Equal(stored, ids) {
		t.Errorf("%d messages, the model has %d", len(stored), len(ids))
	}
}

// Transactions that the database aborts because of conflicts are run again from
// their start. The messages of a failed try are rolled back with it.
func TestEnqueueSerializationRetries(t *testing.T) {
	for _, level := range []sql.IsolationLevel{sql.LevelRepeatableRead, sql.LevelSerializable} {
		t.Run(level.String(), func(t *testing.T) {
			ob, db := postgres.newOutbox(t)
			db.MustExec(`CREATE TABLE things (id uuid PRIMARY KEY)`)
			db.MustExec(`CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL)`)
			db.MustExec(`INSERT INTO account SELECT i, 0 FROM generate_series(0, 1) AS i`)
			const workers, each = 4, 25
			var wg sync.WaitGroup
			retries := make([]int, workers)
			for w := range workers {
				wg.Go(func() {
					for i := range each {
						// Half of the producers make a new id at each try, half keep theirs.
						id := uuid.New()
						for {
							err := deposit(t.Context(), ob, db, level, i%2, id)
							if err == nil {
								break
							}
							if !sqldb.Retryable(err) {
								t.Error(err)
								return
							}
							retries[w]++
							if w%2 == 0 {
								id = uuid.New()
							}
						}
					}
				})
			}
			wg.Wait()
			var balance int
			if err := db.Get(&balance, `SELECT sum(balance) FROM account`); err != nil || balance != workers*each {
				t.Errorf("balance %d, %v; want %d", balance, err, workers*each)
			}
			if n, _, err := ob.Count(t.Context(), ListQuery{}, 1000); n != workers*each || err != nil {
				t.Errorf("%d messages, %v; want %d", n, err, workers*each)
			}
			requireSameIDs(t, db, nil)
			if slices.Max(retries) == 0 {
				t.Error("nobody was in anybody's way: this run proves nothing")
			}
		})
	}
}

// deposit is a transaction made to conflict: it reads, writes what it has read, and
// enqueues a message.
func deposit(ctx context.Context, ob *Outbox, db *sqlx.DB, level sql.IsolationLevel, account int, id uuid.UUID) error {
	tx, err := db.BeginTxx(ctx, &sql.TxOptions{Isolation: level})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var balance int
	if err := tx.GetContext(ctx, &balance, `SELECT balance FROM account WHERE id = $1`, account); err != nil {
		return err
	}
	if err := ob.Enqueue(ctx, tx, Message{ID: id, Topic: "deposited", Key: fmt.Sprint(account)}); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO things (id) VALUES ($1)`, id); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE account SET balance = $2 WHERE id = $1`, account, balance+1); err != nil {
		return err
	}
	return tx.Commit()
}
