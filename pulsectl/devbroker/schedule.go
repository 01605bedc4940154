package devbroker

import (
	"container/heap"
	"time"
)

// schedule is what is to be done later, soonest first.
type schedule []task

type task struct {
	at int64 // unix milliseconds
	do func()
}

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at < s[j].at }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(t any)        { *s = append(*s, t.(task)) }

func (s *schedule) Pop() any {
	last := len(*s) - 1
	t := (*s)[last]
	(*s)[last] = task{}
	*s = (*s)[:last]
	return t
}

// later has do called under the broker's lock, once the time has come. The caller holds the lock.
func (b *Broker) later(at int64, do func()) {
	heap.Push(&b.schedule, task{at: at, do: do})
	if b.schedule[0].at == at {
		select {
		case b.rescheduled <- struct{}{}:
		default:
		}
	}
}

// wakeQueue has q looked at again, at the latest at the given time.
func (b *Broker) wakeQueue(q *queue, at int64) {
	if q.wakeAt != 0 && q.wakeAt <= at {
		return
	}
	q.wakeAt = at
	b.later(at, func() {
		if q.wakeAt == at {
			q.wakeAt = 0
			b.touch(q)
		}
	})
}

// keepTime is the goroutine that does what is scheduled.
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

// doDue does what is due and returns how long there is nothing more to do.
func (b *Broker) doDue() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.schedule) > 0 {
		if wait := b.schedule[0].at - now(); wait > 0 {
			return time.Duration(wait) * time.Millisecond
		}
		heap.Pop(&b.schedule).(task).do()
		b.settleQueues()
	}
	return 1<<63 - 1
}
