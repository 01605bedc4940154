package devbroker

import (
	"container/heap"
	"time"
)

// task is a function to be called later.
type task struct {
	at    int64 // unix milliseconds
	do    func()
	index int // in the schedule; -1: removed
}

// schedule holds the tasks, soonest first.
type schedule []*task

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at < s[j].at }

func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

func (s *schedule) Push(t any) {
	t.(*task).index = len(*s)
	*s = append(*s, t.(*task))
}

func (s *schedule) Pop() any {
	last := len(*s) - 1
	t := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	t.index = -1
	return t
}

// later schedules do to be called with the broker's lock held. The caller holds
// the lock.
func (b *Broker) later(at int64, do func()) *task {
	t := &task{at: at, do: do}
	heap.Push(&b.schedule, t)
	if t.index == 0 {
		select {
		case b.rescheduled <- struct{}{}:
		default:
		}
	}
	return t
}

// unschedule removes a task from the schedule, if it is still there, so that
// what it refers to can be freed.
func (b *Broker) unschedule(t *task) {
	if t != nil && t.index >= 0 {
		heap.Remove(&b.schedule, t.index)
	}
}

// wakeQueue schedules a check of q, at the latest at the given time.
func (b *Broker) wakeQueue(q *queue, at int64) {
	if q.wake != nil && q.wake.index >= 0 && q.wake.at <= at {
		return
	}
	b.unschedule(q.wake)
	q.wake = b.later(at, func() { b.touch(q) })
}

// keepTime is the goroutine that runs scheduled tasks.
func (b *Broker) keepTime() {
	const idle = time.Hour
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		timer.Reset(min(idle, b.doDue()))
		select {
		case <-timer.C:
		case <-b.rescheduled:
		case <-b.stopped:
			return
		}
	}
}

// doDue runs the tasks that are due and returns the time until the next one.
func (b *Broker) doDue() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.schedule) > 0 {
		if wait := b.schedule[0].at - now(); wait > 0 {
			return time.Duration(wait) * time.Millisecond
		}
		heap.Pop(&b.schedule).(*task).do()
		b.settleQueues()
	}
	return 1<<63 - 1
}
