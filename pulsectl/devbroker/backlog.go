package devbroker

import "slices"

// backlog holds the ready entries of a queue, by priority. The zero value is
// empty.
type backlog struct {
	levels []level // by priority; a queue without priorities has one
	top    int     // all levels above are empty
	count  int
}

// level holds the entries of one priority.
type level struct {
	returned []*entry // requeued, in order of publishing; they are delivered before fresh
	fresh    fifo
}

func (l *level) empty() bool { return len(l.returned) == 0 && l.fresh.len() == 0 }

// at returns the level of a priority.
func (b *backlog) at(priority int) *level {
	for len(b.levels) <= priority {
		b.levels = append(b.levels, level{})
	}
	return &b.levels[priority]
}

// next returns the highest level that is not empty, or nil.
func (b *backlog) next() *level {
	if b.count == 0 {
		return nil
	}
	for b.levels[b.top].empty() {
		b.top--
	}
	return &b.levels[b.top]
}

// head returns the entry that is next, or nil.
func (b *backlog) head() *entry {
	l := b.next()
	switch {
	case l == nil:
		return nil
	case len(l.returned) > 0:
		return l.returned[0]
	}
	return l.fresh.head()
}

// pop removes the head and returns it.
func (b *backlog) pop() *entry {
	l := b.next()
	b.count--
	if len(l.returned) == 0 {
		return l.fresh.pop()
	}
	e := l.returned[0]
	l.returned[0] = nil
	if l.returned = l.returned[1:]; len(l.returned) == 0 {
		l.returned = nil
	}
	return e
}

// push adds an entry after all others of its priority.
func (b *backlog) push(priority int, e *entry) {
	b.at(priority).fresh.push(e)
	b.top = max(b.top, priority)
	b.count++
}

// putBack returns an entry to its former place: every delivered entry was
// published before the fresh ones.
func (b *backlog) putBack(priority int, e *entry) {
	l := b.at(priority)
	at, _ := slices.BinarySearchFunc(l.returned, e.msg.seq, func(o *entry, seq uint64) int {
		if o.msg.seq <= seq {
			return -1
		}
		return 1
	})
	l.returned = slices.Insert(l.returned, at, e)
	b.top = max(b.top, priority)
	b.count++
}

// all calls f for each entry, in the order in which they are next.
func (b *backlog) all(f func(*entry)) {
	for i := len(b.levels) - 1; i >= 0; i-- {
		for _, e := range b.levels[i].returned {
			f(e)
		}
		b.levels[i].fresh.all(f)
	}
}

// fifo is a queue of entries in a slice that is shifted from time to time.
type fifo struct {
	entries []*entry
	first   int
}

func (f *fifo) len() int { return len(f.entries) - f.first }

func (f *fifo) push(e *entry) { f.entries = append(f.entries, e) }

func (f *fifo) head() *entry {
	if f.len() == 0 {
		return nil
	}
	return f.entries[f.first]
}

func (f *fifo) pop() *entry {
	e := f.entries[f.first]
	f.entries[f.first] = nil
	f.first++
	switch {
	case f.first == len(f.entries) && cap(f.entries) > 1024:
		*f = fifo{}
	case f.first == len(f.entries):
		f.entries, f.first = f.entries[:0], 0
	case f.first > 1024 && f.first > len(f.entries)/2:
		f.entries = append(make([]*entry, 0, f.len()+f.len()/4), f.entries[f.first:]...)
		f.first = 0
	}
	return e
}

func (f *fifo) all(visit func(*entry)) {
	for _, e := range f.entries[f.first:] {
		visit(e)
	}
}
