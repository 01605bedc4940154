package stack

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// AlreadyRunning returns the error for a second stack. s and err are the
// results of Load.
func AlreadyRunning(s State, err error) error {
	const hint = "use it, or stop it first: pulsectl down"
	switch starting := new(StartingError); {
	case errors.As(err, &starting):
		return fail.New(fail.General, hint, "%v", starting)
	case err == nil:
		return fail.New(fail.General, hint, "a stack is already running: %s", s.Driver().Describe(s).Name)
	}
	return fail.New(fail.General, hint, "a stack is already running")
}

// CannotStart adds a hint if the files of a stack cannot be used.
func CannotStart(err error) error {
	f := fail.From(fail.Wrap("cannot start", err))
	if f.Hint == "" && (errors.Is(err, ErrNoDir) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC)) {
		f.Hint = "use a directory with free space that you can write to: PULSE_STATE_DIR=/tmp/pulse-events pulsectl up"
	}
	return f
}

// orElse adds an alternative to the hint of an error.
func orElse(err error, way string) error {
	f := *fail.From(err)
	if f.Hint != "" {
		f.Hint += "; or " + way
	}
	return &f
}
