package env

import "github.com/xrash/smetrics"

// alike is the Jaro-Winkler similarity above which a word counts as a typing
// error for another.
const alike = 0.8

// Closest returns the name that word is probably meant to be, or "".
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
