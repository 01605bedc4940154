package outbox

import "hash/maphash"

const (
	// maxHeldKeys limits the keys that are remembered in one bucket. If more wait, the
	// cursor stops, and nothing behind it is published.
	maxHeldKeys = 1 << 15
	// maxProbes is how many messages of a topic are remembered for trials.
	maxProbes = 3
)

// held records the messages of a bucket that a lane has skipped because their topic
// is suspended, or because they are behind such a message in their key. The cursor
// passes them, so that the backlog of a suspended topic is read once and not with
// every page; when the topic is resumed, the cursor returns to its first message.
type held struct {
	topics map[string]*heldTopic
	keys   map[uint64]heldKey // by hash: two keys of one hash wait for each other
}

// heldTopic is a topic that waits in a bucket.
type heldTopic struct {
	from   int64   // its first message
	last   int64   // up to here messages are counted
	count  int     // its messages, and those of other topics behind them
	probes []int64 // messages that no other holds back, each of another key
}

// heldKey is a key whose messages behind seq wait.
type heldKey struct {
	seq   int64
	topic string
}

var keySeed = maphash.MakeSeed()

func newHeld() *held {
	return &held{topics: make(map[string]*heldTopic), keys: make(map[uint64]heldKey)}
}

// behind returns the suspended topic that a message has to wait for, because an
// earlier message of its key is of that topic; nil: none.
func (h *held) behind(m *Message) *heldTopic {
	if h == nil || m.Key == "" {
		return nil
	}
	if k, ok := h.keys[maphash.String(keySeed, m.Key)]; ok && k.seq < m.Seq {
		return h.topics[k.topic]
	}
	return nil
}

// holds reports whether a message has to wait, whether or not it has been read.
func (h *held) holds(m *Message) bool {
	return h != nil && (h.topics[m.Topic] != nil || h.behind(m) != nil)
}

// add records a message of a suspended topic. fresh reports whether it is new, ok
// whether there is room.
func (h *held) add(m *Message) (fresh, ok bool) {
	t := h.topics[m.Topic]
	if t == nil {
		t = &heldTopic{from: m.Seq}
		h.topics[m.Topic] = t
	}
	if m.Key != "" {
		hash := maphash.String(keySeed, m.Key)
		k, known := h.keys[hash]
		if !known && len(h.keys) >= maxHeldKeys {
			return false, false
		}
		if !known || m.Seq < k.seq {
			h.keys[hash] = heldKey{m.Seq, m.Topic}
		}
	}
	t.from = min(t.from, m.Seq)
	if fresh = t.note(m.Seq); fresh && len(t.probes) < maxProbes {
		t.probes = append(t.probes, m.Seq)
	}
	return fresh, true
}

// note counts a message once; fresh: now.
func (t *heldTopic) note(seq int64) (fresh bool) {
	if fresh = seq > t.last; fresh {
		t.count++
		t.last = seq
	}
	return fresh
}

// free forgets a topic and returns the cursor from which its messages are read
// again.
func (h *held) free(topic string) (cursor int64) {
	for hash, k := range h.keys {
		if k.topic == topic {
			delete(h.keys, hash)
		}
	}
	cursor = h.topics[topic].from - 1
	delete(h.topics, topic)
	return cursor
}

// from returns the seq of the first message that waits; 0: none does.
func (h *held) from() (first int64) {
	if h == nil {
		return 0
	}
	for _, t := range h.topics {
		if first == 0 || t.from < first {
			first = t.from
		}
	}
	return first
}
