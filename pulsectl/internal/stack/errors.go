package stack

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// AlreadyRunning says that there is one stack at a time. s and err are what
// Load says of it.
func AlreadyRunning(s State, err error) error {
	const hint = "use it, or stop it first: pulsectl down"
	switch starting := new(StartingError); {
	case errors.As(err, &starting):
		return fail.New(fail.General, hint, "%v", starting)
	case err == nil:
		return fail.New(fail.General, hint, "a stack is running already: %s", s.Driver().Describe(s).Name)
	}
	return fail.New(fail.General, hint, "a stack is running already")
}

// CannotStart says what to do where the files of a stack cannot be used.
func CannotStart(err error) error {
	f := fail.From(fail.Wrap("cannot start", err))
	if f.Hint == "" && (errors.Is(err, ErrNoDir) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC)) {
		f.Hint = "name a folder with room that you may write to: PULSE_STATE_DIR=/tmp/pulse-events pulsectl up"
	}
	return f
}

// orElse adds another way out to the hint of an error.
func orElse(err error, way string) error {
	f := *fail.From(err)
	if f.Hint != "" {
		f.Hint += "; or " + way
	}
	return &f
}
