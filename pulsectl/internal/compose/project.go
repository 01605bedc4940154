package compose

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// FileName is the default name of the compose file.
const FileName = "docker-compose.yml"

// Project is a compose file and the part of it that runs.
type Project struct {
	File     string // absolute
	Name     string // the label of containers, networks and volumes
	Profiles string // as in COMPOSE_PROFILES, separated by commas
}

// Dir returns the directory that relative paths in the file start from.
func (p Project) Dir() string { return filepath.Dir(p.File) }

// Profile returns the first of the profiles.
func (p Project) Profile() string {
	first, _, _ := strings.Cut(p.Profiles, ",")
	return strings.TrimSpace(first)
}

// runs reports whether a service of these profiles is started; one of none always
// is.
func (p Project) runs(profiles []string) bool {
	if len(profiles) == 0 {
		return true
	}
	for active := range strings.SplitSeq(p.Profiles, ",") {
		if slices.Contains(profiles, strings.TrimSpace(active)) {
			return true
		}
	}
	return false
}

// FindFile returns the absolute path of the compose file: the given one, or the
// nearest in dir and its parents.
func FindFile(given, dir string) (string, error) {
	if given != "" {
		path := given
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			return "", fail.Usagef("name one: --compose-file "+FileName+", or PULSE_COMPOSE_FILE", "there is no compose file %s", given)
		}
		return path, nil
	}
	for at := dir; ; at = filepath.Dir(at) {
		path := filepath.Join(at, FileName)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path, nil
		}
		if at == filepath.Dir(at) {
			return "", fail.Usagef("change to the repository, or name the file: --compose-file, PULSE_COMPOSE_FILE",
				"there is no %s in %s or its parents", FileName, dir)
		}
	}
}

var profilesOfService = regexp.MustCompile(`(?m)^\s*profiles:\s*\[([^\]]*)\]`)

// ProfilesNear lists the profiles of the compose file that FindFile returns,
// without a client, if the file is formatted like the project's own. It serves
// completion.
func ProfilesNear(given, dir string) []string {
	file, err := FindFile(given, dir)
	if err != nil {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var names []string
	for _, m := range profilesOfService.FindAllStringSubmatch(string(text), -1) {
		for name := range strings.SplitSeq(m[1], ",") {
			names = append(names, unquote(strings.TrimSpace(name)))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Settings looks up variables as Compose does: in the environment, then in the
// file .env next to the compose file.
type Settings struct {
	getenv func(string) string
	file   map[string]string
}

// ReadSettings reads the .env next to a compose file, if there is one.
func ReadSettings(file string, getenv func(string) string) (Settings, error) {
	s := Settings{getenv, map[string]string{}}
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(file), ".env"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("settings of the compose file: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		s.file[strings.TrimSpace(name)] = unquote(strings.TrimSpace(value))
	}
	return s, nil
}

// Get returns a variable's value, or "".
func (s Settings) Get(name string) string { return cmp.Or(s.getenv(name), s.file[name]) }

func unquote(value string) string {
	for _, quote := range []string{`"`, `'`} {
		if inner, ok := strings.CutPrefix(value, quote); ok {
			if inner, _, ok := strings.Cut(inner, quote); ok {
				return inner
			}
		}
	}
	value, _, _ = strings.Cut(value, " #")
	return strings.TrimSpace(value)
}

var notInNames = regexp.MustCompile(`[^-_a-z0-9]`)

// ProjectName returns the name of a project as Compose defines it:
// COMPOSE_PROJECT_NAME, or the name of the file's directory. Both clients get
// it from here, so that they agree.
func ProjectName(file string, s Settings) string {
	name := cmp.Or(s.Get("COMPOSE_PROJECT_NAME"), filepath.Base(filepath.Dir(file)))
	name = notInNames.ReplaceAllString(strings.ToLower(name), "")
	return cmp.Or(strings.TrimLeft(name, "-_"), "default")
}
