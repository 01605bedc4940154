package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/examples/internal/settings"
)

func reader(environment map[string]string) *settings.Reader {
	return settings.NewReader(func(name string) (string, bool) {
		value, ok := environment[name]
		return value, ok
	})
}

func TestReader(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := reader(map[string]string{"A": "a", "B_FILE": file, "C": "false", "EMPTY": ""})
	fromFile, again := r.Secret("B")
	if err := os.WriteFile(file, []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	changed, err := again(t.Context())
	if err != nil {
		t.Error(err)
	}
	none, never := r.Secret("NONE")
	if never != nil {
		t.Error("what is no file can be read again")
	}
	for got, want := range map[string]string{
		r.String("A", "x"):     "a",
		r.String("EMPTY", "x"): "x",
		fromFile:               "from file",
		changed:                "changed",
		none:                   "",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if r.Bool("C", true) || !r.Bool("NONE", true) {
		t.Error("C is false, and what is not set is the fallback")
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
}

func TestReaderReportsEveryProblem(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := reader(map[string]string{"A": "hunter2", "A_FILE": "/x", "B_FILE": "/does/not/exist", "C_FILE": empty, "D": "perhaps"})
	r.Secret("A")
	r.Secret("B")
	r.Secret("C")
	r.Bool("D", false)
	err := r.Err()
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{"A:", "B_FILE:", "C_FILE:", "D:"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error reveals a secret: %v", err)
	}
}
