package diagnosis

import (
	"strings"

	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

// unbound returns those topics that reach no queue from an exchange. known is
// false if the exchange routes by something else than its type tells.
func unbound(topics []string, exchange string, kinds map[string]string, bindings []queues.Binding) (missing []string, known bool) {
	known = true
	for _, topic := range topics {
		reaches, sure := routed(topic, exchange, kinds, bindings, map[string]bool{})
		known = known && sure
		if !reaches && sure {
			missing = append(missing, topic)
		}
	}
	return missing, known
}

// routed reports whether a message with the key comes from the exchange to a
// queue, also through other exchanges.
func routed(key, exchange string, kinds map[string]string, bindings []queues.Binding, visited map[string]bool) (reaches, sure bool) {
	if visited[exchange] {
		return false, true
	}
	visited[exchange] = true
	sure = true
	for _, b := range bindings {
		if b.Source != exchange {
			continue
		}
		switch kinds[exchange] {
		case "direct":
			if b.Key != key {
				continue
			}
		case "topic":
			if !matches(strings.Split(b.Key, "."), strings.Split(key, ".")) {
				continue
			}
		case "fanout":
		default: // headers, or a plugin's
			sure = false
			continue
		}
		if b.ToQueue() {
			return true, true
		}
		next, nextSure := routed(key, b.Destination, kinds, bindings, visited)
		if next {
			return true, true
		}
		sure = sure && nextSure
	}
	return false, sure
}

// matches reports whether the words of a key match a pattern, in which * stands
// for one word and # for any number of them.
func matches(pattern, words []string) bool {
	switch {
	case len(pattern) == 0:
		return len(words) == 0
	case pattern[0] == "#":
		return matches(pattern[1:], words) || len(words) > 0 && matches(pattern, words[1:])
	case len(words) == 0:
		return false
	case pattern[0] == "*" || pattern[0] == words[0]:
		return matches(pattern[1:], words[1:])
	}
	return false
}
