// Package reload reads files again when they change, for what has to be taken up
// without a restart: tokens, keys, certificates.
package reload

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// Limits of files and of how often they are looked at.
const (
	maxFile      = 1 << 20
	lookInterval = time.Second
)

// Files are one or several that belong together. A mistake in them shuts out
// nobody: what was good last stays in force, and the log tells of it until they
// are good again. It is safe for concurrent use.
type Files[T any] struct {
	// Every is the least time between two looks. Open sets a second; 0 looks at
	// each use.
	Every time.Duration

	paths []string
	parse func(texts []string) (T, error)
	log   *slog.Logger

	mu     sync.Mutex
	looked time.Time
	texts  []string
	value  T
	failed string // what was said last
}

// Open reads files for the first time: then every mistake is an error.
func Open[T any](log *slog.Logger, parse func(texts []string) (T, error), paths ...string) (*Files[T], error) {
	f := &Files[T]{Every: lookInterval, paths: paths, parse: parse, log: log, looked: time.Now()}
	var err error
	if f.texts, err = read(paths); err != nil {
		return nil, err
	}
	if f.value, err = parse(f.texts); err != nil {
		return nil, fmt.Errorf("%s: %w", paths[0], err)
	}
	return f, nil
}

// Get returns what the files hold.
func (f *Files[T]) Get() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.looked) >= f.Every {
		f.looked = now
		f.look()
	}
	return f.value
}

func (f *Files[T]) look() {
	texts, err := read(f.paths)
	if err == nil && slices.Equal(texts, f.texts) {
		f.failed = ""
		return
	}
	var value T
	if err == nil {
		value, err = f.parse(texts)
	}
	if err != nil {
		if f.failed != err.Error() {
			f.failed = err.Error()
			f.log.Error("a file cannot be used as it is now; what it held before stays in force", "file", f.paths[0], "error", err)
		}
		return
	}
	f.texts, f.value, f.failed = texts, value, ""
	f.log.Info("a file has changed and is in force", "file", f.paths[0])
}

func read(paths []string) (texts []string, err error) {
	for _, path := range paths {
		text, err := readFile(path)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s: has more than %d bytes", path, maxFile)
	}
	return string(text), err
}
