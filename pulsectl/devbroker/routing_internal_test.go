package devbroker

import (
	"strings"
	"testing"
)

// matchSlowly is the definition of topic matching, word for word.
func matchSlowly(pattern, words []string) bool {
	switch {
	case len(pattern) == 0:
		return len(words) == 0
	case pattern[0] == "#":
		return matchSlowly(pattern[1:], words) || len(words) > 0 && matchSlowly(pattern, words[1:])
	case len(words) == 0:
		return false
	}
	return (pattern[0] == "*" || pattern[0] == words[0]) && matchSlowly(pattern[1:], words[1:])
}

func TestTopicMatch(t *testing.T) {
	all := func(alphabet string, longest int) (keys [][]string) {
		keys = [][]string{nil}
		for begin, length := 0, 0; length < longest; length++ {
			end := len(keys)
			for _, key := range keys[begin:end] {
				for _, word := range strings.Split(alphabet, "") {
					keys = append(keys, append(append([]string{}, key...), word))
				}
			}
			begin = end
		}
		return keys
	}
	keys := all("ab", 5)
	for _, pattern := range all("a*#", 5) {
		for _, key := range keys {
			if got := topicMatches(pattern, key); got != matchSlowly(pattern, key) {
				t.Fatalf("%q on %q: %v", pattern, key, got)
			}
		}
	}
}

// TestTopicMatchHostilePattern ends in time only because matching does not try every distribution of the words.
func TestTopicMatchHostilePattern(t *testing.T) {
	pattern := strings.Split(strings.Repeat("#.a.", 60)+"b", ".")
	key := strings.Split(strings.Repeat("a.", 125)+"c", ".")
	if topicMatches(pattern, key) {
		t.Error("matched")
	}
}
