package service

import (
	"cmp"
	"os"
	"regexp"
	"slices"
	"strconv"
)

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && info.Mode()&0o111 != 0
}

var digits = regexp.MustCompile(`\d+`)

// byVersion orders paths by the numbers in them, so that 9 comes before 15.
func byVersion(a, b string) int {
	numbers := func(s string) (out []int) {
		for _, d := range digits.FindAllString(s, -1) {
			n, _ := strconv.Atoi(d) // a number that is too long sorts as 0
			out = append(out, n)
		}
		return out
	}
	return cmp.Or(slices.Compare(numbers(a), numbers(b)), cmp.Compare(a, b))
}
