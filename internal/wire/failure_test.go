package wire

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestFailureVectors(t *testing.T) {
	eachVector(t, "failure", func(t *testing.T, v vector) {
		headers := map[string]any{"tenant": "acme"}
		for _, f := range v.Failures {
			// Each failure is read from where the one before was written.
			ReadFailure(headers).Failed(f.Reason, f.Error, f.Consumer, f.Exchange, f.At).Write(headers)
		}
		v.Headers["tenant"] = "acme"
		requireEqual(t, "headers", headers, v.Headers)
		ClearFailure(headers)
		requireEqual(t, "headers without history", headers, map[string]any{"tenant": "acme"})
	})
}

func TestFailureIsBounded(t *testing.T) {
	at := time.Now()
	for name, text := range map[string]string{
		"long":      strings.Repeat("x", 100_000),
		"multibyte": strings.Repeat("x", maxErrorText-1) + strings.Repeat("ö", 10),
		"not UTF-8": strings.Repeat("x\xff", 3000),
	} {
		f := Failure{}.Failed(ReasonHandler, text, "c", "e", at)
		if len(f.LastError) > maxErrorText+len("…") || !utf8.ValidString(f.LastError) || !strings.HasSuffix(f.LastError, "…") {
			t.Errorf("%s: %d bytes, valid %v", name, len(f.LastError), utf8.ValidString(f.LastError))
		}
	}
	if f := (Failure{}).Failed(ReasonHandler, "short", "c", "e", at); f.LastError != "short" {
		t.Errorf("%q", f.LastError)
	}
}

func TestReadFailureOfOthers(t *testing.T) {
	if f := ReadFailure(map[string]any{"x-death": []any{}}); f != (Failure{}) {
		t.Errorf("%+v, want none", f)
	}
	// Numbers of another width, and times that are none.
	f := ReadFailure(map[string]any{HeaderAttempts: int32(3), HeaderFirstFailedAt: "yesterday", HeaderLastError: []byte("e")})
	if f.Attempts != 3 || !f.FirstFailedAt.IsZero() || f.LastError != "e" {
		t.Errorf("%+v", f)
	}
}
