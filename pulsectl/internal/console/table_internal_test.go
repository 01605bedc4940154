package console

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestFit(t *testing.T) {
	id := size{natural: 36, needed: true}
	status := size{natural: 9, keep: 5}
	age := size{natural: 3, keep: 4}
	text := size{natural: 70, min: 16, keep: 3}
	topic := size{natural: 13, min: 10, keep: 1}
	none := size{natural: 10, keep: 9, empty: true}
	for name, c := range map[string]struct {
		columns []size
		limit   int
		want    []int
	}{
		"no limit":                        {[]size{id, topic, status, age, text}, 0, []int{36, 13, 9, 3, 70}},
		"all fit":                         {[]size{id, topic, status, age}, 67, []int{36, 13, 9, 3}},
		"one cell less":                   {[]size{id, topic, status, age}, 66, []int{36, 12, 9, 3}},
		"the least important goes":        {[]size{id, topic, status, age}, 61, []int{36, 0, 9, 3}},
		"what is cut gets what is left":   {[]size{id, topic, status, age, text}, 80, []int{36, 0, 9, 3, 26}},
		"too narrow for the cut one":      {[]size{id, topic, status, age, text}, 60, []int{36, 0, 9, 3, 0}},
		"a smaller one may still fit":     {[]size{id, text, age}, 45, []int{36, 0, 3}},
		"empty ones go first":             {[]size{id, none, status, age}, 60, []int{36, 0, 9, 3}},
		"what is needed stays, cut or no": {[]size{id, status}, 20, []int{36, 0}},
		"nothing":                         {nil, 80, []int{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fit(c.columns, c.limit); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// No table is wider than the terminal, and none omits a column that had room.
func TestFitLimit(t *testing.T) {
	for range 2000 {
		limit := minWidth + rand.IntN(150)
		var columns []size
		for range 1 + rand.IntN(8) {
			columns = append(columns, size{natural: 1 + rand.IntN(60), min: rand.IntN(20), keep: rand.IntN(4), empty: rand.IntN(5) == 0})
		}
		used := -gap
		widths := fit(columns, limit)
		for i, width := range widths {
			if width > columns[i].natural {
				t.Fatalf("%+v at %d: %v is wider than its cells", columns, limit, widths)
			}
			if width > 0 {
				used += width + gap
			}
		}
		if used > limit {
			t.Fatalf("%+v at %d: %v takes %d", columns, limit, widths, used)
		}
		for i, width := range widths {
			if width == 0 && used+gap+columns[i].natural <= limit {
				t.Fatalf("%+v at %d: %v leaves out column %d", columns, limit, widths, i)
			}
		}
	}
}
