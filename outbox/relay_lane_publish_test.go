package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWaves(t *testing.T) {
	var rows []*outgoing
	for i, m := range []Message{
		{Key: "a", Topic: "x"}, {Topic: "x"}, {Key: "b", Topic: "x"}, {Key: "a", Topic: "x"}, {Topic: "x"},
		{Key: "a", Topic: "x"}, {Key: "b", Topic: "y"}, {Key: "a", Topic: "x"}, {Key: "b", Topic: "y"},
	} {
		m.Seq = int64(i)
		rows = append(rows, &outgoing{Message: m})
	}
	for window, want := range map[int][]string{
		1: {"[0 1 2 4]", "[3 6]", "[5 8]", "[7]"},
		2: {"[0 1 2 3 4]", "[5 6 7 8]"}, // of one topic
		9: {"[0 1 2 3 4 5 7]", "[6 8]"},
	} {
		var got []string
		for _, wave := range waves(rows, window) {
			var seqs []int64
			for _, place := range wave {
				seqs = append(seqs, rows[place].Seq)
			}
			got = append(got, fmt.Sprint(seqs))
		}
		if !slices.Equal(got, want) {
			t.Errorf("window %d: waves %v, want %v", window, got, want)
		}
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		err  error
		want verdict
	}{
		{nil, published},
		{Unavailable(nil), none},
		{fmt.Errorf("lane: %w", Unavailable(errors.New("x"))), none},
		{Rejected(nil), failed},
		{Unroutable(nil), failed},
		{Permanent(nil), dead},
		{errors.New("of no class"), failed},
		{context.DeadlineExceeded, none},
		{fmt.Errorf("publish: %w", context.Canceled), none},
		{Rejected(context.Canceled), failed},
		{Unavailable(Permanent(nil)), none}, // when in doubt, nothing is lost
	} {
		if got := judge(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

func TestErrorTextFitsItsColumn(t *testing.T) {
	if got := errorText(errors.New("a\x00b\xffc")); got != "a\uFFFDb\uFFFDc" {
		t.Errorf("%q", got)
	}
	long := errorText(errors.New(strings.Repeat("é", maxErrorText)))
	if len(long) > maxErrorText+len("…") || !utf8.ValidString(long) || !strings.HasSuffix(long, "…") {
		t.Errorf("%d bytes, %q at the end", len(long), long[len(long)-8:])
	}
}

func TestRemainingContinuesWhereThePageEnded(t *testing.T) {
	todo := []stretch{{Bucket: 1, To: 9000}, {Bucket: 2, From: 5, To: 9000}}
	if rest := remaining(todo, make([]swept, sweepPage-1)); rest != nil {
		t.Errorf("after a page that is not full: %v", rest)
	}
	page := make([]swept, sweepPage)
	for i := range page {
		page[i] = swept{stray: stray{Bucket: 1, Seq: int64(i + 1)}}
	}
	want := []stretch{{Bucket: 1, From: sweepPage, To: 9000}, {Bucket: 2, From: 5, To: 9000}}
	if rest := remaining(todo, page); !slices.Equal(rest, want) {
		t.Errorf("%v, want %v", rest, want)
	}
}
