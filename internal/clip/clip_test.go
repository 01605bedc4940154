package clip

import (
	"strings"
	"testing"
	"time"
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

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", time.Minute: "1m", 10 * time.Minute: "10m", 90 * time.Second: "1m30s", time.Hour: "1h", 20 * time.Hour: "20h",
		time.Hour + 10*time.Minute: "1h10m", time.Hour + 5*time.Second: "1h0m5s", 1500 * time.Millisecond: "1.5s",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}
