package sqldb

import (
	"testing"
	"time"
)

func TestDialectTime(t *testing.T) {
	at := time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.FixedZone("", -5*3600))
	if got := SQLite.Time(at); got != "2024-03-01 04:59:59.123456" {
		t.Errorf("SQLite: %v", got)
	}
	if got := SQLite.Time(at.Truncate(time.Second)); got != "2024-03-01 04:59:59.000000" {
		t.Errorf("SQLite, whole seconds: %v; must be as long as others", got)
	}
	if got := PostgreSQL.Time(at); got != at.UTC() {
		t.Errorf("PostgreSQL: %v", got)
	}
	for _, d := range []Dialect{PostgreSQL, SQLite} {
		if got := d.Time(time.Time{}); got != nil {
			t.Errorf("%s: zero is %v, want NULL", d, got)
		}
	}
}

func TestInstantScan(t *testing.T) {
	want := time.Date(2024, 3, 1, 4, 59, 59, 123000000, time.UTC)
	for _, value := range []any{
		"2024-03-01 04:59:59.123000", []byte("2024-03-01 04:59:59.123"), want, want.In(time.FixedZone("", 3600)),
	} {
		var got Instant
		if err := got.Scan(value); err != nil || got.Time != want {
			t.Errorf("%v: %v, %v", value, got, err)
		}
	}
	got := Instant{want}
	if err := got.Scan(nil); err != nil || !got.IsZero() {
		t.Errorf("NULL: %v, %v", got, err)
	}
	for _, value := range []any{"2024-03-01", "soon", int64(5)} {
		if err := got.Scan(value); err == nil {
			t.Errorf("%v: scanned as %v", value, got)
		}
	}
}
