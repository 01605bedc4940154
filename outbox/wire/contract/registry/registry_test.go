package registry_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/asimalizada/pulse-events/outbox/wire/contract"
	"github.com/asimalizada/pulse-events/outbox/wire/contract/registry"
)

// eachRegistry runs a test on the fake of the client's own package, and on the
// registry at PULSE_TEST_REGISTRY, if there is one.
func eachRegistry(t *testing.T, test func(t *testing.T, cfg registry.Config)) {
	t.Run("fake", func(t *testing.T) {
		fake := srfake.New()
		t.Cleanup(fake.Close)
		test(t, registry.Config{URL: fake.URL()})
	})
	t.Run("real", func(t *testing.T) {
		url := os.Getenv("PULSE_TEST_REGISTRY")
		if url == "" {
			t.Skip("needs PULSE_TEST_REGISTRY: the URL of a schema registry")
		}
		test(t, registry.Config{URL: url, Prefix: "t" + uuid.NewString() + ".", Suffix: "-value"})
	})
}

func client(t *testing.T, cfg registry.Config) *registry.Client {
	t.Helper()
	c, err := registry.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func directory(named map[string]string) fstest.MapFS {
	dir := fstest.MapFS{}
	for name, text := range named {
		dir[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return dir
}

const money = `{"type":"object","required":["amount"],"properties":{"amount":{"$ref":"number.json"}}}`

// shop has versions that refer to shared schemas, which refer to others.
func shop() map[string]string {
	return map[string]string{
		"order.created/1.json":       `{"type": "object", "properties": {"orderId": {"type": "string"}}, "required": ["orderId"]}`,
		"order.created/2.json":       `{"type": "object", "properties": {"orderId": {"type": "string"}, "total": {"$ref": "../_shared/money.json"}}, "required": ["orderId"]}`,
		"order.paid/1.json":          `{"type": "object", "properties": {"total": {"$ref": "../_shared/money.json#/properties/amount"}}}`,
		"_shared/money.json":         money,
		"_shared/number.json":        `{"type": "number"}`,
		"com.example/shipped/1.json": `{"type": "object"}`,
	}
}

// texts returns the files of a directory.
func texts(t *testing.T, dir fs.FS) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(dir, ".", func(file string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			text, readErr := fs.ReadFile(dir, file)
			files[file], err = string(text), readErr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func added(pushed []registry.Pushed) (files []string) {
	for _, p := range pushed {
		if p.New {
			files = append(files, fmt.Sprintf("%s %d", p.File, p.Version))
		}
	}
	return files
}

func TestPushAndPull(t *testing.T) {
	eachRegistry(t, func(t *testing.T, cfg registry.Config) {
		c := client(t, cfg)
		files := shop()
		if os.Getenv("PULSE_TEST_REGISTRY") != "" {
			delete(files, "com.example/shipped/1.json") // some registries take no slash in a subject
		}
		none := registry.PushOptions{Compatibility: "none"}
		pushed, err := c.Push(t.Context(), directory(files), registry.PushOptions{DryRun: true})
		if err != nil || len(pushed) != len(files) || len(added(pushed)) != len(files) {
			t.Fatalf("dry run: %+v, %v", pushed, err)
		}
		if _, err := c.Pull(t.Context(), "order.created"); err == nil || !strings.Contains(err.Error(), "there is no subject "+cfg.Prefix+"order.created"+cfg.Suffix) {
			t.Fatalf("after a dry run: %v", err)
		}
		if pushed, err = c.Push(t.Context(), directory(files), none); err != nil || len(added(pushed)) != len(files) {
			t.Fatalf("pushed %+v, %v", pushed, err)
		}
		for _, p := range pushed {
			if want := 1 + strings.Count(p.File, "/2.json"); p.Version != want {
				t.Errorf("%s is version %d of %s, want %d", p.File, p.Version, p.Subject, want)
			}
		}
		if again, err := c.Push(t.Context(), directory(files), none); err != nil || len(added(again)) > 0 {
			t.Errorf("pushed again: %v, %v", added(again), err)
		}

		all, err := c.Pull(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(t, all); !reflect.DeepEqual(got, files) {
			t.Errorf("pulled %v, want %v", got, files)
		}
		if _, err := contract.Load(all, contract.Config{}); err != nil {
			t.Error(err)
		}
		one, err := c.Pull(t.Context(), "order.paid")
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(t, one); len(got) != 3 || got["_shared/money.json"] != money {
			t.Errorf("pulled %v, want the contract and the two schemas below it", got)
		}

		files["order.created/3.json"] = `{"type": "object"}`
		if pushed, err = c.Push(t.Context(), directory(files), none); err != nil || !reflect.DeepEqual(added(pushed), []string{"order.created/3.json 3"}) {
			t.Errorf("pushed %v, %v; want the new version", added(pushed), err)
		}
	})
}

// Nothing is written if anything does not fit.
func TestPushRefuses(t *testing.T) {
	eachRegistry(t, func(t *testing.T, cfg registry.Config) {
		c := client(t, cfg)
		files := map[string]string{"a/1.json": `{"type": "object", "properties": {"m": {"$ref": "../_s/m.json"}}}`, "_s/m.json": `{"type": "number"}`}
		if _, err := c.Push(t.Context(), directory(files), registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]struct {
			files map[string]string
			says  string
		}{
			"a version":       {map[string]string{"a/1.json": `{"type": "object"}`, "b/1.json": "{}"}, "a/1.json: differs from version 1 of subject " + cfg.Prefix + "a"},
			"what it uses":    {map[string]string{"a/1.json": files["a/1.json"], "_s/m.json": `{"type": "string"}`, "b/1.json": "{}"}, "_s/m.json: differs from version 1 of subject " + cfg.Prefix + "_s.m"},
			"a gap":           {map[string]string{"a/3.json": "{}", "b/1.json": "{}"}, "a/3.json: the registry would make it version 2"},
			"a first version": {map[string]string{"c/2.json": "{}", "b/1.json": "{}"}, "c/2.json: the registry would make it version 1"},
			"no schema":       {map[string]string{"a/1.json": "{", "b/1.json": "{}"}, "a/1.json: no JSON"},
		} {
			pushed, err := c.Push(t.Context(), directory(change.files), registry.PushOptions{})
			if err == nil || !strings.Contains(err.Error(), change.says) || len(pushed) > 0 {
				t.Errorf("%s: %v, %v; want %q", name, pushed, err, change.says)
			}
			if _, err := c.Pull(t.Context(), "b"); err == nil {
				t.Fatalf("%s: b was pushed", name)
			}
		}
		same := map[string]string{"d/1.json": `{"type": "array"}`, "d/2.json": `{"type":"array"}`}
		same["d/2.json"] = same["d/1.json"]
		if _, err := c.Push(t.Context(), directory(same), registry.PushOptions{}); err == nil || !strings.Contains(err.Error(), "d/2.json: is the same as version 1") {
			t.Errorf("the same twice: %v", err)
		}
	})
}

func TestPushRefusesCircles(t *testing.T) {
	fake := srfake.New()
	t.Cleanup(fake.Close)
	_, err := client(t, registry.Config{URL: fake.URL()}).Push(t.Context(), directory(map[string]string{
		"a/1.json": `{"$ref": "../_s/x.json"}`, "_s/x.json": `{"properties": {"y": {"$ref": "y.json"}}}`, "_s/y.json": `{"properties": {"x": {"$ref": "x.json"}}}`,
	}), registry.PushOptions{})
	if err == nil || !strings.Contains(err.Error(), "in a circle, which a registry cannot hold: a/1.json, _s/x.json, _s/y.json, _s/x.json") {
		t.Error(err)
	}
}

// What the registry finds incompatible comes with its reasons.
func TestPushShowsReasons(t *testing.T) {
	old := map[string]string{"a/1.json": `{"type":"object","properties":{"n":{"type":"number"}}}`}
	changed := map[string]string{"a/1.json": old["a/1.json"], "a/2.json": `{"type":"object","properties":{"n":{"type":"string"}}}`}
	check := func(t *testing.T, c *registry.Client, says string) {
		t.Helper()
		for _, dry := range []bool{true, false} {
			_, err := c.Push(t.Context(), directory(changed), registry.PushOptions{DryRun: dry})
			refused, ok := errors.AsType[*registry.IncompatibleError](err)
			if !ok || refused.File != "a/2.json" || len(refused.Reasons) == 0 || !strings.Contains(err.Error(), says) {
				t.Errorf("dry run %v: %v", dry, err)
			}
		}
	}
	t.Run("fake", func(t *testing.T) { // which compares nothing itself
		fake := srfake.New()
		t.Cleanup(fake.Close)
		c := client(t, registry.Config{URL: fake.URL()})
		if _, err := c.Push(t.Context(), directory(old), registry.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		fake.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case strings.HasPrefix(r.URL.Path, "/compatibility/") && r.URL.Query().Get("verbose") == "true":
				fmt.Fprint(w, `{"is_compatible":false,"messages":["TYPE_CHANGED at #/properties/n"]}`)
			case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/versions"):
				w.WriteHeader(http.StatusConflict)
				fmt.Fprint(w, `{"error_code":409,"message":"incompatible"}`)
			default:
				return false
			}
			return true
		})
		check(t, c, "TYPE_CHANGED at #/properties/n")
	})
	t.Run("real", func(t *testing.T) {
		url := os.Getenv("PULSE_TEST_REGISTRY")
		if url == "" {
			t.Skip("needs PULSE_TEST_REGISTRY: the URL of a schema registry")
		}
		c := client(t, registry.Config{URL: url, Prefix: "t" + uuid.NewString() + "."})
		if _, err := c.Push(t.Context(), directory(old), registry.PushOptions{Compatibility: "BACKWARD"}); err != nil {
			t.Fatal(err)
		}
		check(t, c, "a/2.json: the registry refuses it as incompatible")
	})
}
