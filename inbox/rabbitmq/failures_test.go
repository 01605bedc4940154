package rabbitmq

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
)

func TestFailureHistoryVectors(t *testing.T) {
	rabbittest.EachVector(t, "../..", "failure", func(t *testing.T, v rabbittest.Vector) {
		headers := map[string]any{"tenant": "acme"}
		for _, f := range v.Failures {
			// Each failure is read from where the one before was written.
			readFailures(headers).failed(inbox.Reason(f.Reason), f.Error, f.Consumer, f.Exchange, f.At).write(headers)
		}
		v.Headers["tenant"] = "acme"
		if !reflect.DeepEqual(headers, v.Headers) {
			t.Errorf("headers:\n got %+v\nwant %+v", headers, v.Headers)
		}
		clearFailures(headers)
		if want := map[string]any{"tenant": "acme"}; !reflect.DeepEqual(headers, want) {
			t.Errorf("headers without history: %v, want %v", headers, want)
		}
	})
}

func TestFailureHistoryIsBounded(t *testing.T) {
	at := time.Now()
	for name, text := range map[string]string{
		"long":      strings.Repeat("x", 100_000),
		"multibyte": strings.Repeat("x", maxErrorText-1) + strings.Repeat("ö", 10),
		"not UTF-8": strings.Repeat("x\xff", 3000),
	} {
		f := failureHistory{}.failed(inbox.ReasonHandler, text, "c", "e", at)
		if len(f.LastError) > maxErrorText+len("…") || !utf8.ValidString(f.LastError) || !strings.HasSuffix(f.LastError, "…") {
			t.Errorf("%s: %d bytes, valid %v", name, len(f.LastError), utf8.ValidString(f.LastError))
		}
	}
	if f := (failureHistory{}).failed(inbox.ReasonHandler, "short", "c", "e", at); f.LastError != "short" {
		t.Errorf("%q", f.LastError)
	}
}

func TestReadFailuresOfOthers(t *testing.T) {
	if f := readFailures(map[string]any{"x-death": []any{}}); f != (failureHistory{}) {
		t.Errorf("%+v, want none", f)
	}
	// Numbers of another width, and times that are none.
	f := readFailures(map[string]any{headerAttempts: int32(3), headerFirstFailedAt: "yesterday", headerLastError: []byte("e")})
	if f.Attempts != 3 || !f.FirstFailedAt.IsZero() || f.LastError != "e" {
		t.Errorf("%+v", f)
	}
}
