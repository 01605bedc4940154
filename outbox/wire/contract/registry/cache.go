package registry

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/asimalizada/pulse-events/outbox/wire/contract"
)

// Source are contracts that a service works with.
type Source struct {
	Files fs.FS // for contract.Load
	// Stale is why Files are those of an earlier start; nil: they are the registry's.
	// A service logs it.
	Stale error
	// At is when Files were read from the registry.
	At time.Time
}

// Cached returns the contracts of the given names, as Pull does, and keeps them in
// a file. While the registry cannot be reached, or what it has cannot be used, they
// are those of the file: a service starts with its registry down, but not the first
// time. It takes three times Config.Timeout at most, where the file exists.
//
// The file is replaced as a whole, and by contracts that can be loaded only.
// Programs may share it. A running service keeps the contracts that it has loaded: a new
// version of a contract comes with the program that was written for it.
func (c *Client) Cached(ctx context.Context, file string, names ...string) (Source, error) {
	kept, at, keptErr := open(file)
	limit := ctx
	if keptErr == nil {
		var cancel context.CancelFunc
		limit, cancel = context.WithTimeout(ctx, 3*c.cfg.Timeout)
		defer cancel()
	}
	text, err := c.pull(limit, names)
	if err == nil {
		var fresh fs.FS
		if fresh, err = read(text); err == nil {
			if err = replace(file, text); err != nil {
				return Source{}, fmt.Errorf("registry: cannot keep the contracts: %w", err)
			}
			return Source{Files: fresh, At: time.Now()}, nil
		}
		err = fmt.Errorf("registry %s: its contracts cannot be used: %w", c.name, err)
	}
	switch {
	case ctx.Err() != nil:
		return Source{}, err
	case errors.Is(keptErr, fs.ErrNotExist):
		return Source{}, fmt.Errorf("%w; and there are none of an earlier start in %s", err, file)
	case keptErr != nil:
		return Source{}, fmt.Errorf("%w; and those of an earlier start cannot be read: %w", err, keptErr)
	}
	return Source{Files: kept, Stale: err, At: at}, nil
}

// open returns what a file keeps.
func open(file string) (fs.FS, time.Time, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, time.Time{}, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, time.Time{}, err
	}
	files, err := read(text)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%s: %w", file, err)
	}
	return files, info.ModTime(), nil
}

// read returns the files of an archive, if they are contracts.
func read(text []byte) (fs.FS, error) {
	files, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
	if err == nil {
		_, err = contract.Load(files, contract.Config{})
	}
	return files, err
}

// replace writes a file as a whole.
func replace(file string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
