package replay

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// State is how far a run has come, as kept in a file: a run that was killed can
// be continued.
type State struct {
	Filter    map[string]string `json:"filter"`
	After     int64             `json:"after"`
	Published int               `json:"published"`
	At        time.Time         `json:"at"`
}

// StateFile returns the file of a selection in a directory.
func StateFile(dir string, filter map[string]string) string {
	text, _ := json.Marshal(filter) // text alone: cannot fail
	sum := sha256.Sum256(text)
	return filepath.Join(dir, "replay-"+hex.EncodeToString(sum[:6])+".json")
}

// ReadState reads a state; ok is false if there is none.
func ReadState(file string) (s State, ok bool, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, false, fmt.Errorf("read %s: %w", file, err)
	}
	return s, true, nil
}

// Write replaces the file: whoever is killed meanwhile leaves the old one.
func (s State) Write(file string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
