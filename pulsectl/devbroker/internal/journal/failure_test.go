package journal

import (
	"errors"
	"os"
	"testing"
)

func TestAppendAfterFailedWrite(t *testing.T) {
	var synced Position
	j, err := Open(t.TempDir(), nil, func(p Position) { synced = p })
	if err != nil {
		t.Fatal(err)
	}
	safe := j.Append([]byte("safe"), true)
	if err := j.Sync(safe); err != nil {
		t.Fatal(err)
	}
	if err := j.file.Close(); err != nil { // the disk fails
		t.Fatal(err)
	}
	if err := j.Sync(j.Append([]byte("lost"), true)); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("sync: %v", err)
	}
	if pos := j.Append([]byte("refused"), true); pos != never || !errors.Is(j.Write(pos), os.ErrClosed) || !errors.Is(j.Sync(pos), os.ErrClosed) {
		t.Fatalf("position %d", pos)
	}
	if _, err := j.BeginSnapshot(); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("snapshot: %v", err)
	}
	if err := j.Close(); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("close: %v", err)
	}
	if synced != safe {
		t.Fatalf("synced up to %d, safe up to %d", synced, safe)
	}
}
