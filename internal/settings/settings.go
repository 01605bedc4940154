// Package settings reads what a program is told by its environment, and
// gathers every problem so that all of them can be named at once.
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

// Reader reads variables and remembers what was wrong with them.
type Reader struct {
	lookup   func(string) (string, bool)
	problems []error
	named    map[string]bool // variables that have a problem
}

// NewReader reads through lookup, such as os.LookupEnv. Empty variables count
// as not set.
func NewReader(lookup func(string) (string, bool)) *Reader {
	return &Reader{lookup: lookup, named: make(map[string]bool)}
}

// String returns the variable, or fallback where it is not set.
func (r *Reader) String(name, fallback string) string {
	if value, _ := r.lookup(name); value != "" {
		return value
	}
	return fallback
}

// Secret returns the variable, or the content of the file that name_FILE
// names, without the line's end. Where it is a file, again reads it as it is by
// then, else again is nil. Setting both is a problem. Problems never hold the
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
	again = func(context.Context) (string, error) { return ReadSecret(path) }
	value, err := ReadSecret(path)
	if err != nil {
		r.Problem(fileName, err)
	}
	return value, again
}

// ReadSecret returns the content of a file without the line's end. An empty
// file, as there is one while it is being written, is an error.
func ReadSecret(path string) (string, error) {
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

// Bool returns the variable as true or false, or fallback where it is not set.
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

// Duration returns the variable as a time span such as 5s, or fallback where it
// is not set.
func (r *Reader) Duration(name string, fallback time.Duration) time.Duration {
	text := r.String(name, "")
	if text == "" {
		return fallback
	}
	value, err := time.ParseDuration(text)
	if err != nil {
		r.Problem(name, fmt.Errorf("%q is no time span, such as 5s or 1m30s", text))
		return fallback
	}
	return value
}

// Problem adds a problem with the named variable. Only the first one with a
// variable or its file is kept: it explains those that follow.
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
