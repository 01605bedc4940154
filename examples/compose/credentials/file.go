package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// readable is the mode of all files: the readers run as users whose numbers
// are not known here, and who may read a file is decided by where its volume
// is mounted.
const readable = 0o444

// password matches generated passwords. They need no quoting in SQL, in a URL or
// in the broker's settings.
var password = regexp.MustCompile(`^[0-9A-Za-z]{20,}$`)

// keepPassword returns the password in the file, and creates it with a random one
// if it does not exist.
func keepPassword(path string) (string, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text := rand.Text()
		return text, put(path, text+"\n")
	}
	text := strings.TrimRight(string(content), "\n")
	if err == nil && !password.MatchString(text) {
		err = fmt.Errorf("%s holds no password of at least 20 letters and digits; its server may have taken it already, so it is not replaced", path)
	}
	return text, err
}

// put writes a file atomically: at any moment a reader, or the next run after a
// crash, finds the old content or all of the new one.
func put(path, content string) (err error) {
	old, err := os.ReadFile(path)
	if err == nil && string(old) == content {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// The name is the same every time, so that the next run overwrites what a
	// killed one has left; and no server reads a file of that name.
	unfinished := path + ".unfinished"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	f, err := os.OpenFile(unfinished, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(unfinished))
		}
	}()
	_, err = f.WriteString(content)
	if err := errors.Join(err, f.Chmod(readable), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(unfinished, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename in the directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
