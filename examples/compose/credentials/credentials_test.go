package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newVolumes makes the directories that Docker would mount.
func newVolumes(t *testing.T) volumes {
	t.Helper()
	root := t.TempDir()
	for _, name := range []string{"postgres", "rabbitmq", "api", "orders", "notifications"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return volumes(root)
}

func fill(t *testing.T, v volumes) {
	t.Helper()
	var stderr bytes.Buffer
	if code := run([]string{"-volumes", string(v), "make"}, &stderr, &stderr); code != 0 {
		t.Fatalf("make: exit code %d: %s", code, &stderr)
	}
	if stderr.Len() > 0 {
		t.Errorf("make is not silent: %s", &stderr)
	}
}

func read(t *testing.T, v volumes, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(v.file(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// contents returns every file by its path.
func contents(t *testing.T, v volumes) map[string]string {
	t.Helper()
	files := make(map[string]string)
	root := os.DirFS(string(v))
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, path)
		files[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestMake(t *testing.T) {
	v := newVolumes(t)
	fill(t, v)
	seen := map[string]string{}
	for _, owner := range []string{
		"postgres/postgres", "postgres/pulse_owner", "postgres/orders", "postgres/notifications",
		"rabbitmq/broker", "rabbitmq/orders", "rabbitmq/notifications", "api/pulsectl",
	} {
		text := strings.TrimSuffix(read(t, v, owner+".password"), "\n")
		if !password.MatchString(text) {
			t.Errorf("%s: not a password of ours", owner)
		}
		if other := seen[text]; other != "" {
			t.Errorf("%s and %s share a password", other, owner)
		}
		seen[text] = owner
	}
	// Each service has only its own secrets, and the API's token by its hash.
	also := map[string]string{
		"rabbitmq/broker": "rabbitmq/10-pulse-events.conf",
		"postgres/orders": "orders/" + databaseFile, "rabbitmq/orders": "orders/" + amqpFile,
		"postgres/notifications": "notifications/" + databaseFile, "rabbitmq/notifications": "notifications/" + amqpFile,
	}
	for text, owner := range seen {
		for path, content := range contents(t, v) {
			allowed := path == owner+".password" || path == also[owner]
			if strings.Contains(content, text) != allowed {
				t.Errorf("%s holds the password of %s: %t, want %t", path, owner, !allowed, allowed)
			}
		}
	}
	conf := read(t, v, "rabbitmq", "10-pulse-events.conf")
	for _, want := range []string{"\nlog.console = true\n", "\ndefault_user = pulse\n", "\ndefault_pass = "} {
		if !strings.Contains(conf, want) {
			t.Errorf("the broker's settings do not hold %q", want)
		}
	}
	for path := range contents(t, v) {
		info, err := os.Stat(filepath.Join(string(v), path))
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(path) != ".lock" && info.Mode().Perm() != readable {
			t.Errorf("%s has mode %v, want %v: its reader is another user", path, info.Mode().Perm(), fs.FileMode(readable))
		}
	}
}

func TestMakeAgainChangesNothing(t *testing.T) {
	v := newVolumes(t)
	fill(t, v)
	before := contents(t, v)
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	for path := range before {
		if err := os.Chtimes(filepath.Join(string(v), path), long, long); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, v)
	after := contents(t, v)
	if len(after) != len(before) {
		t.Errorf("%d files, were %d", len(after), len(before))
	}
	for path, content := range after {
		info, err := os.Stat(filepath.Join(string(v), path))
		if err != nil {
			t.Fatal(err)
		}
		if content != before[path] || !info.ModTime().Equal(long) {
			t.Errorf("%s was written again", path)
		}
	}
}

// Volumes of a version that had fewer users keep their passwords, and get the others.
func TestMakeCompletesVolumesOfAnEarlierVersion(t *testing.T) {
	v := newVolumes(t)
	fill(t, v)
	before := contents(t, v)
	for _, later := range []string{"postgres/pulse_owner", "rabbitmq/orders", "rabbitmq/notifications"} {
		if err := os.Remove(v.file(later + ".password")); err != nil {
			t.Fatal(err)
		}
	}
	// Both services were the broker's administrator.
	if err := errors.Join(os.Remove(v.file("orders", amqpFile)), os.WriteFile(v.file("orders", amqpFile), []byte("amqp://pulse:x@rabbitmq:5672/\n"), readable)); err != nil {
		t.Fatal(err)
	}
	fill(t, v)
	after := contents(t, v)
	if len(after) != len(before) {
		t.Errorf("%d files, want %d", len(after), len(before))
	}
	for _, kept := range []string{"postgres/postgres", "postgres/orders", "postgres/notifications", "rabbitmq/broker", "api/pulsectl"} {
		if name := kept + ".password"; after[name] != before[name] {
			t.Errorf("%s was changed", name)
		}
	}
	consistent(t, v)
}

// A run can be killed after any file, and while it writes one.
func TestMakeGoesOnWhereItWasCutShort(t *testing.T) {
	whole := newVolumes(t)
	fill(t, whole)
	for cut := range contents(t, whole) {
		if filepath.Base(cut) == ".lock" {
			continue
		}
		t.Run(cut, func(t *testing.T) {
			v := newVolumes(t)
			fill(t, v)
			before := contents(t, v)
			path := filepath.Join(string(v), cut)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path+".unfinished", []byte("HALF"), 0o600); err != nil {
				t.Fatal(err)
			}
			fill(t, v)
			after := contents(t, v)
			if len(after) != len(before) {
				t.Errorf("%d files, want %d: %v", len(after), len(before), after)
			}
			for path, content := range after {
				isPassword := filepath.Ext(path) == ".password"
				if isPassword && path != cut && content != before[path] {
					t.Errorf("%s was changed", path)
				}
				if !isPassword && filepath.Ext(cut) != ".password" && content != before[path] {
					t.Errorf("%s is not what it was", path)
				}
				if strings.Contains(content, "HALF") {
					t.Errorf("%s is half a file", path)
				}
			}
			consistent(t, v)
		})
	}
}

// consistent checks that clients have the passwords of the servers.
func consistent(t *testing.T, v volumes) {
	t.Helper()
	for _, c := range []struct{ volume, file, serverVolume, server string }{
		{"orders", databaseFile, "postgres", "orders"},
		{"notifications", databaseFile, "postgres", "notifications"},
		{"orders", amqpFile, "rabbitmq", "orders"},
		{"notifications", amqpFile, "rabbitmq", "notifications"},
	} {
		u, err := url.Parse(strings.TrimSpace(read(t, v, c.volume, c.file)))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := u.User.Password()
		if want := strings.TrimSpace(read(t, v, c.serverVolume, c.server+".password")); got != want {
			t.Errorf("%s/%s has another password than the server", c.volume, c.file)
		}
	}
}

func TestMakeReplacesNoPassword(t *testing.T) {
	for name, broken := range map[string]string{"empty": "", "short": "abc\n", "not to be quoted": "it's'a'long'password'with'quotes\n"} {
		t.Run(name, func(t *testing.T) {
			v := newVolumes(t)
			fill(t, v)
			path := v.file("postgres", "orders.password")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(broken), readable); err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			if code := run([]string{"-volumes", string(v), "make"}, &stderr, &stderr); code != failed {
				t.Errorf("exit code %d, want %d", code, failed)
			}
			if !strings.Contains(stderr.String(), path) || (broken != "" && strings.Contains(stderr.String(), strings.TrimSpace(broken))) {
				t.Errorf("%q does not name the file, or tells what is in it", &stderr)
			}
			if got := read(t, v, "postgres", "orders.password"); got != broken {
				t.Error("the password was changed")
			}
		})
	}
}

func TestShow(t *testing.T) {
	v := newVolumes(t)
	var stdout, stderr bytes.Buffer
	if code := run([]string{"-volumes", string(v), "show"}, &stdout, &stderr); code != failed || stdout.Len() > 0 {
		t.Errorf("before any was made: exit code %d, want %d; printed %q", code, failed, &stdout)
	}
	if !strings.Contains(stderr.String(), "no credentials yet") {
		t.Errorf("error is %q", &stderr)
	}

	fill(t, v)
	if code := run([]string{"-volumes", string(v), "show"}, &stdout, &stderr); code != succeeded {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	secret := func(volume, name string) string { return strings.TrimSpace(read(t, v, volume, name+".password")) }
	want := map[string]string{
		"outboxDb": "postgres://pulse_owner:" + secret("postgres", "pulse_owner") + "@postgres:5432/orders?sslmode=disable",
		"inboxDb":  "postgres://pulse_owner:" + secret("postgres", "pulse_owner") + "@postgres:5432/notifications?sslmode=disable",
		"apiToken": secret("api", "pulsectl"),
		"amqpUrl":  "amqp://pulse:" + secret("rabbitmq", "broker") + "@rabbitmq:5672/",
	}
	got := map[string]string{}
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Errorf("shows %d addresses, want %d", len(got), len(want))
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s is %q, want %q", name, got[name], want[name])
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"steal"}, {"show", "all"}, {"-nonsense", "make"}} {
		var stdout, stderr bytes.Buffer
		if code := run(args, &stdout, &stderr); code != misused || !strings.Contains(stderr.String(), "usage:") {
			t.Errorf("%q: exit code %d, want %d; %s", args, code, misused, &stderr)
		}
	}
}
