// Package settings reads a program's settings from its environment, and
// collects all problems so that they are reported at once.
package settings

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Reader reads variables and collects their problems.
type Reader struct {
	lookup   func(string) (string, bool)
	problems []error
	named    map[string]bool // variables that have a problem
}

// NewReader returns a Reader that uses lookup, such as os.LookupEnv. Empty
// variables count as not set.
func NewReader(lookup func(string) (string, bool)) *Reader {
	return &Reader{lookup: lookup, named: make(map[string]bool)}
}

// String returns the variable, or fallback if it is not set.
func (r *Reader) String(name, fallback string) string {
	if value, _ := r.lookup(name); value != "" {
		return value
	}
	return fallback
}

// Secret returns the variable, or the content of the file named by name_FILE,
// without the trailing newline. For a file, again reads its current content;
// otherwise again is nil. Setting both is a problem. Problems never contain the
// value.
func (r *Reader) Secret(name string) (value string, again func(context.Context) (string, error)) {
	fileName := name + "_FILE"
	value, path := r.String(name, ""), r.String(fileName, "")
	switch {
	case path == "":
		return value, nil
	case value != "":
		r.Problem(name, fmt.Errorf("%s is set as well; set one of them", fileName))
		return value, nil
	}
	again = func(context.Context) (string, error) { return readSecret(path) }
	value, err := readSecret(path)
	if err != nil {
		r.Problem(fileName, err)
	}
	return value, again
}

// readSecret returns the content of a file without the trailing newline. An
// empty file is an error, because it may be in the middle of being written.
func readSecret(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	value := strings.TrimRight(string(content), "\r\n")
	if value == "" {
		return "", fmt.Errorf("the file %s is empty", path)
	}
	return value, nil
}

// Bool returns the variable as true or false, or fallback if it is not set.
func (r *Reader) Bool(name string, fallback bool) bool {
	text := r.String(name, "")
	if text == "" {
		return fallback
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		r.Problem(name, fmt.Errorf("%q is neither true nor false", text))
		return fallback
	}
	return value
}

// Duration returns the variable as a duration such as 5s, or fallback if it is
// not set.
func (r *Reader) Duration(name string, fallback time.Duration) time.Duration {
	text := r.String(name, "")
	if text == "" {
		return fallback
	}
	value, err := time.ParseDuration(text)
	if err != nil {
		r.Problem(name, fmt.Errorf("%q is not a duration such as 5s or 1m30s", text))
		return fallback
	}
	return value
}

// Rate returns the variable as a number a second: 500/s, or 600/m. It is 0 if the
// variable is not set.
func (r *Reader) Rate(name string) float64 {
	text := r.String(name, "")
	if text == "" {
		return 0
	}
	number, unit, _ := strings.Cut(text, "/")
	n, err := strconv.ParseFloat(number, 64)
	seconds := map[string]float64{"s": 1, "m": 60}[unit]
	if err != nil || seconds == 0 || !(n > 0) || n > 1e9 {
		r.Problem(name, fmt.Errorf("%q is not a rate such as 500/s or 600/m", text))
		return 0
	}
	return n / seconds
}

// Problem adds a problem with the named variable. Only the first problem with a
// variable or its file is kept: later ones follow from it.
func (r *Reader) Problem(name string, err error) {
	variable := strings.TrimSuffix(name, "_FILE")
	if r.named[variable] {
		return
	}
	r.named[variable] = true
	r.problems = append(r.problems, fmt.Errorf("%s: %w", name, err))
}

// Err returns every problem so far, or nil.
func (r *Reader) Err() error { return errors.Join(r.problems...) }
