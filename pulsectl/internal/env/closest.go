package env

import "github.com/xrash/smetrics"

// alike is the Jaro-Winkler similarity from which a word counts as a typing
// slip of another.
const alike = 0.8

// Closest returns which of names a word was meant to be; empty: none of them.
func Closest(word string, names []string) string {
	best, score := "", alike
	for _, name := range names {
		if len(name) < 2 {
			continue
		}
		if s := smetrics.JaroWinkler(word, name, 0.7, 4); s > score {
			best, score = name, s
		}
	}
	return best
}
