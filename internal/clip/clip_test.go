package clip

import (
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{
		{"", 4, ""},
		{"four", 4, "four"},
		{"fives", 4, "five…"},
		{"abcö", 5, "abcö"},
		{"abcö", 4, "abc…"},
		{"ab\xffc", 10, "ab\uFFFDc"},
		{"ab\x00c", 10, "ab\uFFFDc"},
		{strings.Repeat("ö", 100), 5, "öö…"},
	} {
		if got := Text(c.text, c.limit, "…"); got != c.want {
			t.Errorf("Text(%q, %d) = %q, want %q", c.text, c.limit, got, c.want)
		}
	}
	if got := Text("fives", 4, ""); got != "five" {
		t.Errorf("without a mark: %q", got)
	}
}
