package deadletters_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/deadletters"
)

const (
	childURL   = "PULSE_TEST_CHILD_URL"
	childQueue = "PULSE_TEST_CHILD_QUEUE"
	childFile  = "PULSE_TEST_CHILD_FILE" // to discard into; empty: requeue
)

// runChild turns this program, started again, into one that requeues or discards the
// letters of ofChild, and prints those that are done.
func runChild() {
	url := os.Getenv(childURL)
	if url == "" {
		return
	}
	q := deadletters.Queue{Source: inboxrabbit.SourceConfig{URL: url, Queue: os.Getenv(childQueue)}}
	done := func(l *deadletters.Letter, err error) { fmt.Println(l.Ref, err) }
	var err error
	if name := os.Getenv(childFile); name != "" {
		var file *os.File
		if file, err = os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
			_, err = q.Discard(context.Background(), deadletters.Discard{Filter: ofChild, Reason: "a test", To: file, Done: done})
		}
	} else {
		_, err = q.Requeue(context.Background(), deadletters.Requeue{Filter: ofChild, Done: done, Rate: 200})
	}
	fmt.Println("the end", err)
	os.Exit(0)
}

// ofChild selects four letters of five.
var ofChild = deadletters.Filter{MinAttempts: 2}

// killAfter starts a child, kills it when it is done with n letters, and reports
// whether that was before its end.
func (r *rig) killAfter(n int, file string) (killed bool) {
	r.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childURL+"="+r.queue.Source.URL, childQueue+"="+r.names.Queue, childFile+"="+file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range n {
		if !lines.Scan() {
			break
		}
	}
	killErr := cmd.Process.Kill()
	rest, _ := io.ReadAll(out)
	waitErr := cmd.Wait()
	if killErr != nil && !errors.Is(killErr, os.ErrProcessDone) || stderr.Len() > 0 {
		r.t.Fatalf("%v, %v, %s", killErr, waitErr, stderr.String())
	}
	return !bytes.Contains(rest, []byte("the end <nil>"))
}

// A process that is killed while it requeues loses nothing, and the next one can go
// on; of each key the letters come in their order.
func TestRequeueKilled(t *testing.T) {
	onBrokers(t, func(t *testing.T, r *rig) {
		const n = 300
		r.fill(n)
		killed := 0
		for _, after := range []int{1, 90} {
			if r.killAfter(after, "") {
				killed++
			}
		}
		if killed == 0 {
			t.Error("no process was killed in time")
		}
		report := r.requeue(deadletters.Requeue{Filter: ofChild})
		r.awaitDepth(r.names.DeadLetters, report.Seen-report.Done)
		left := ids(r.take(r.names.DeadLetters, report.Seen-report.Done))
		moved := r.take(r.names.Queue, r.count(r.names.Queue))
		first := firsts(ids(moved))
		slices.Sort(left)
		if !slices.Equal(slices.Compact(left), want(n, 1)) || !slices.Equal(slices.Sorted(slices.Values(first)), want(n, 2, 3, 4, 5)) {
			t.Errorf("%d left, %d moved", len(left), len(first))
		}
		if copies := len(moved) - len(first); copies > 2*512 {
			t.Errorf("%d copies", copies)
		}
		ofKey := make(map[any][]string)
		for _, d := range moved {
			ofKey[d.Headers["pulse-key"]] = append(ofKey[d.Headers["pulse-key"]], d.MessageId)
		}
		for key, all := range ofKey {
			if !slices.IsSorted(firsts(all)) {
				t.Errorf("%v: %v", key, firsts(all))
			}
		}
	})
}

// The same of one that discards: what is not in the queue is in a file.
func TestDiscardKilled(t *testing.T) {
	onBrokers(t, func(t *testing.T, r *rig) {
		const n = 300
		r.fill(n)
		var written []string
		for _, after := range []int{1, 100} {
			file := filepath.Join(t.TempDir(), fmt.Sprint(after))
			r.killAfter(after, file)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for line := range bytes.Lines(text) {
				var record deadletters.Record
				if json.Unmarshal(line, &record) == nil { // else the last, half written and not discarded
					written = append(written, record.ID)
				}
			}
		}
		left := ids(r.take(r.names.DeadLetters, r.count(r.names.DeadLetters)))
		if len(written) == 0 || len(left) == 0 {
			t.Errorf("%d written, %d left", len(written), len(left))
		}
		all := append(written, left...)
		slices.Sort(all)
		if all = slices.Compact(all); !slices.Equal(all, want(n, 1, 2, 3, 4, 5)) {
			t.Errorf("%d of %d letters are left", len(all), n)
		}
	})
}

// count reads a queue once, and returns how many letters it holds.
func (r *rig) count(queue string) int {
	r.t.Helper()
	q := r.queue
	q.Name = queue
	s, err := q.Survey(r.t.Context(), deadletters.Query{})
	if err != nil {
		r.t.Fatal(err)
	}
	return s.Seen
}

// want are the ids of the letters that failed this often.
func want(n int, attempts ...int) (ids []string) {
	for i := range n {
		if p := letter(i); slices.Contains(attempts, int(p.Headers["pulse-attempts"].(int64))) {
			ids = append(ids, p.MessageId)
		}
	}
	return ids
}

// firsts are the ids without copies, in their order.
func firsts(all []string) (first []string) {
	seen := make(map[string]bool)
	for _, id := range all {
		if !seen[id] {
			seen[id] = true
			first = append(first, id)
		}
	}
	return first
}
