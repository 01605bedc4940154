// Package routing tells from exchanges and bindings, as RabbitMQ's management API
// lists them, which queues a message reaches.
package routing

import "strings"

// Binding leads messages from an exchange to a queue or another exchange.
type Binding struct {
	Source          string `json:"source"`
	Destination     string `json:"destination"`
	DestinationType string `json:"destination_type"`
	Key             string `json:"routing_key"`
}

// ToQueue reports whether the destination is a queue.
func (b Binding) ToQueue() bool { return b.DestinationType == "queue" }

// Table is what a virtual host routes by.
type Table struct {
	Kinds    map[string]string // the types of exchanges, by name
	Bindings []Binding
}

// Reach is where a message comes.
type Reach struct {
	Queues map[string]bool
	// Perhaps are further queues, behind an exchange that routes by something else
	// than its bindings' keys tell: one of type headers, or of a plugin.
	Perhaps map[string]bool
	// Unsure is set where such an exchange is on the way.
	Unsure bool
}

// Reaches returns where a message with a routing key comes from an exchange, also
// through other exchanges.
func (t Table) Reaches(key, exchange string) Reach {
	r := Reach{Queues: make(map[string]bool), Perhaps: make(map[string]bool)}
	t.follow(&r, key, exchange, r.Queues, make(map[string]bool))
	return r
}

func (t Table) follow(r *Reach, key, exchange string, into, visited map[string]bool) {
	if visited[exchange] {
		return
	}
	visited[exchange] = true
	defer delete(visited, exchange) // another way to it may be a sure one
	for _, b := range t.Bindings {
		if b.Source != exchange {
			continue
		}
		into := into
		switch t.Kinds[exchange] {
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
			r.Unsure, into = true, r.Perhaps
		}
		if b.ToQueue() {
			into[b.Destination] = true
		} else {
			t.follow(r, key, b.Destination, into, visited)
		}
	}
}

// Behind returns the queues to which an exchange leads, also through others,
// whatever the key.
func (t Table) Behind(exchange string) map[string]bool {
	queues, seen := make(map[string]bool), map[string]bool{exchange: true}
	for next := []string{exchange}; len(next) > 0; next = next[1:] {
		for _, b := range t.Bindings {
			switch {
			case b.Source != next[0]:
			case b.ToQueue():
				queues[b.Destination] = true
			case !seen[b.Destination]:
				seen[b.Destination] = true
				next = append(next, b.Destination)
			}
		}
	}
	return queues
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
