package rabbittest

import (
	"encoding/binary"
	"slices"
)

// confirms is what a proxy knows of one channel in confirm mode: what the
// client has published and the broker has not confirmed.
type confirms struct {
	published uint64
	open      map[uint64]string // routing keys, by delivery tag
	withheld  map[uint64][]byte // answers that were kept back, by delivery tag
}

// Withhold keeps back the broker's confirms of messages that are published with
// this routing key from now on, as if the queue behind it did not answer. The
// broker has the messages. Release hands the confirms on.
func (p *Proxy) Withhold(routingKey string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.withheld[routingKey] = true
}

// Release hands on the confirms that were withheld.
func (p *Proxy) Release(routingKey string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.withheld, routingKey)
	for l := range p.links {
		for _, c := range l.confirms {
			for _, tag := range sortedTags(c.withheld) {
				if c.open[tag] == routingKey {
					l.say(c.withheld[tag])
					delete(c.withheld, tag)
					delete(c.open, tag)
				}
			}
		}
	}
}

// noteSent follows what the client does on its channels.
func (p *Proxy) noteSent(l *link, frame []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := channelOf(frame)
	switch {
	case isMethod(frame, 20, 10), isMethod(frame, 20, 40): // channel.open, channel.close
		delete(l.confirms, id)
	case isMethod(frame, 85, 10): // confirm.select
		l.confirms[id] = &confirms{open: make(map[uint64]string), withheld: make(map[uint64][]byte)}
	case isPublish(frame) && l.confirms[id] != nil:
		c := l.confirms[id]
		c.published++
		c.open[c.published] = routingKeyOf(frame)
	}
}

// answersOf returns what the client is to get in place of a frame of the
// broker's.
func (p *Proxy) answersOf(l *link, frame []byte) [][]byte {
	ack := isMethod(frame, 60, 80)
	if !ack && !isMethod(frame, 60, 120) { // basic.nack
		return [][]byte{frame}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := l.confirms[channelOf(frame)]
	if c == nil {
		return [][]byte{frame}
	}
	last, multiple := binary.BigEndian.Uint64(frame[11:]), frame[19]&1 == 1
	tags := []uint64{last}
	if multiple {
		tags = slices.DeleteFunc(sortedTags(c.open), func(tag uint64) bool { return tag > last })
	}
	held := slices.ContainsFunc(tags, func(tag uint64) bool { return c.withheld[tag] != nil || p.withheld[c.open[tag]] })
	if !held {
		for _, tag := range tags {
			delete(c.open, tag)
		}
		return [][]byte{frame}
	}
	var answers [][]byte
	for _, tag := range tags {
		one := slices.Clone(frame)
		binary.BigEndian.PutUint64(one[11:], tag)
		one[19] &^= 1
		switch {
		case c.withheld[tag] != nil:
		case p.withheld[c.open[tag]]:
			c.withheld[tag] = one
		default:
			answers = append(answers, one)
			delete(c.open, tag)
		}
	}
	return answers
}

func sortedTags[V any](m map[uint64]V) []uint64 {
	tags := make([]uint64, 0, len(m))
	for tag := range m {
		tags = append(tags, tag)
	}
	slices.Sort(tags)
	return tags
}

func channelOf(frame []byte) uint16 { return binary.BigEndian.Uint16(frame[1:]) }

func isMethod(frame []byte, class, method byte) bool {
	return frame[0] == methodFrame && len(frame) > frameHead+4 && frame[8] == class && frame[10] == method
}

// routingKeyOf reads a basic.publish: reserved-1, exchange, routing-key.
func routingKeyOf(frame []byte) string {
	exchange := frame[13:]
	key := exchange[1+exchange[0]:]
	return string(key[1 : 1+key[0]])
}
