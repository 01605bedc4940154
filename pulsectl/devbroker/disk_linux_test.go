package devbroker_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// smallDisk mounts a file system of the given size in megabytes.
func smallDisk(t *testing.T, megabytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); errors.Is(err, syscall.EPERM) {
		t.Skip("mounting a small file system needs root:", err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// publisher publishes messages of a size with confirms until it is stopped.
type publisher struct {
	*session
	queue   string
	prefix  string // of message ids, before their number
	blocked chan amqp.Blocking
	all     []*amqp.DeferredConfirmation
	done    chan struct{}
}

func (s *session) publisher(queue string) *publisher {
	s.Helper()
	s.must(s.ch.Confirm(false))
	return &publisher{session: s, queue: queue, blocked: s.conn.NotifyBlocked(make(chan amqp.Blocking, 1000)), done: make(chan struct{})}
}

func (p *publisher) run(n, size int) {
	defer close(p.done)
	body := strings.Repeat("x", size)
	for range n {
		if !p.publish(body) {
			return
		}
	}
}

// runUntilBlocked publishes messages of a size until the broker blocks them: it tells only
// those who publish during an alarm.
func (p *publisher) runUntilBlocked(size int) {
	defer close(p.done)
	told := p.conn.NotifyBlocked(make(chan amqp.Blocking, 1000))
	body := strings.Repeat("x", size)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for p.publish(body) {
		select {
		case <-told:
			return
		case <-tick.C:
		}
	}
}

// publish reports whether a message could be sent; not if the broker was killed.
func (p *publisher) publish(body string) bool {
	msg := persistent(body)
	msg.MessageId = p.prefix + fmt.Sprint(len(p.all))
	d, err := p.ch.PublishWithDeferredConfirmWithContext(p.Context(), "", p.queue, false, false, msg)
	if err == nil {
		p.all = append(p.all, d)
	}
	return err == nil
}

// confirmed waits for the publisher to end and lists what was confirmed.
func (p *publisher) confirmed() map[string]bool {
	p.Helper()
	await(p.T, "the publisher to end", p.done)
	ids := make(map[string]bool)
	for i, d := range p.all {
		select {
		case <-d.Done():
			if d.Acked() {
				ids[p.prefix+fmt.Sprint(i)] = true
			}
		default:
		}
	}
	return ids
}

// TestDiskFullBlocksPublishers: publishers are blocked until consumers have made room, and then everything is confirmed.
func TestDiskFullBlocksPublishers(t *testing.T) {
	dir := filepath.Join(smallDisk(t, 32), "data")
	b, s := start(t, dir)
	q := s.queue(nil)
	p := newSession(t, b.URL()).publisher(q)
	const n = 300 // of a quarter of a megabyte: twice what there is room for
	go p.run(n, megabyte/4)
	if e := await(t, "connection.blocked", p.blocked); !e.Active || e.Reason != "low on disk" {
		t.Fatalf("blocked with %+v", e)
	}
	seen := make(map[string]bool)
	deliveries := s.consume(q, 20)
	for len(seen) < n {
		d := s.next(deliveries)
		seen[d.MessageId] = true
		s.must(d.Ack(false))
	}
	if ids := p.confirmedAll(); len(ids) != n {
		t.Errorf("%d of %d confirmed", len(ids), n)
	}
	for active := true; active; {
		active = await(t, "connection.unblocked", p.blocked).Active
	}
	// There may have been room once before the last time that there was none.
	eventually(t, "the alarm to end", func() bool { return !b.Stats().Blocked })
	if b.Err() != nil {
		t.Errorf("afterwards: %v", b.Err())
	}
}

// TestDiskFilledByOthers fills the disk while messages are published. What was confirmed survives a
// kill; what was not is confirmed once there is room.
func TestDiskFilledByOthers(t *testing.T) {
	disk := smallDisk(t, 32)
	dir := filepath.Join(disk, "data")
	c := startChild(t, dir)
	s := newSession(t, c.url)
	s.queueNamed("q", nil)
	p := newSession(t, c.url).publisher("q")
	s.send("q", "before")
	filler := fill(t, disk)
	go p.runUntilBlocked(10_000)
	if e := await(t, "connection.blocked", p.blocked); e.Reason != "low on disk" {
		t.Fatalf("blocked with %+v", e)
	}
	s.must(os.Remove(filler))
	for active := true; active; {
		active = await(t, "connection.unblocked", p.blocked).Active
	}
	first := p.confirmedAll()
	if len(first) != len(p.all) {
		t.Fatalf("%d of %d confirmed", len(first), len(p.all))
	}

	p = newSession(t, c.url).publisher("q")
	p.prefix = "second "
	filler = fill(t, disk)
	go p.runUntilBlocked(10_000)
	await(t, "connection.blocked", p.blocked)
	c.kill()
	survivors := p.confirmed()
	s.must(os.Remove(filler))
	s = newSession(t, startChild(t, dir).url)
	there := make(map[string]int)
	for {
		d, ok, err := s.ch.Get("q", true)
		s.must(err)
		if !ok {
			break
		}
		there[d.MessageId]++
	}
	for id := range survivors {
		if there[id] != 1 {
			t.Errorf("message %s was confirmed on a full disk, and is there %d times", id, there[id])
		}
	}
	for id := range first {
		if there[id] != 1 {
			t.Errorf("message %s was confirmed once there was room, and is there %d times", id, there[id])
		}
	}
}

// confirmedAll waits for all confirms.
func (p *publisher) confirmedAll() map[string]bool {
	p.Helper()
	await(p.T, "the publisher to end", p.done)
	for _, d := range p.all {
		await(p.T, "a confirm", d.Done())
	}
	return p.confirmed()
}

// fill takes all the room on a disk and returns the file to delete.
func fill(t *testing.T, disk string) string {
	t.Helper()
	f, err := os.Create(filepath.Join(disk, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return f.Name()
}

// TestDiskFreeLimit: publishers are blocked below the limit, before a write fails.
func TestDiskFreeLimit(t *testing.T) {
	b := devbroker.NewTest(t, func(c *devbroker.Config) {
		c.DataDir, c.DiskFreeLimit = filepath.Join(smallDisk(t, 16), "data"), 20<<20
	})
	s := newSession(t, b.URL())
	eventually(t, "the alarm", func() bool { return b.Stats().Blocked })
	s.ready(s.queue(nil)) // definitions are no messages
}
