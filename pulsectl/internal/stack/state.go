// Package stack starts and stops what the other commands work on, and records
// where it is.
package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// State holds the addresses of a running stack. It contains passwords, so only
// its owner can read the file.
type State struct {
	Stack            Kind      `json:"stack"`
	PID              int       `json:"pid"`
	Starting         bool      `json:"starting,omitempty"` // only process and kind are known yet
	StartedAt        time.Time `json:"startedAt"`
	OutboxDB         string    `json:"outboxDb"`
	InboxDB          string    `json:"inboxDb"`
	AMQPURL          string    `json:"amqpUrl"`
	OrdersURL        string    `json:"ordersUrl"`
	NotificationsURL string    `json:"notificationsUrl"`
	APICAFile        string    `json:"apiCaFile,omitempty"` // with --tls: whom to trust
	APIToken         string    `json:"apiToken,omitempty"`  // secret; empty: the services ask nobody, or others than this stack know it
	BrokerStopCmd    string    `json:"brokerStopCmd,omitempty"`
	BrokerStartCmd   string    `json:"brokerStartCmd,omitempty"`
	DBStopCmd        string    `json:"dbStopCmd,omitempty"`
	DBStartCmd       string    `json:"dbStartCmd,omitempty"`
	DataDir          string    `json:"dataDir,omitempty"`
	ControlURL       string    `json:"controlUrl,omitempty"`   // of the embedded broker
	ControlToken     string    `json:"controlToken,omitempty"` // secret
	LogFile          string    `json:"logFile,omitempty"`
	ComposeFile      string    `json:"composeFile,omitempty"`
	Project          string    `json:"project,omitempty"`
	Profiles         string    `json:"profiles,omitempty"` // as in COMPOSE_PROFILES
	Client           string    `json:"client,omitempty"`   // of Compose, as it is typed
	RabbitMQUIURL    string    `json:"rabbitmqUiUrl,omitempty"`
	ManagementURL    string    `json:"managementUrl,omitempty"` // of the embedded broker
	UIURL            string    `json:"uiUrl,omitempty"`         // of the web page

	// Where the services serve metrics, and what watches them; empty: nowhere.
	OrdersMetricsURL        string `json:"ordersMetricsUrl,omitempty"`
	NotificationsMetricsURL string `json:"notificationsMetricsUrl,omitempty"`
	PrometheusURL           string `json:"prometheusUrl,omitempty"`
	GrafanaURL              string `json:"grafanaUrl,omitempty"`
	JaegerURL               string `json:"jaegerUrl,omitempty"`
}

// MetricsURLs returns where metrics are served: once if both services are in one
// process.
func (s State) MetricsURLs() []string {
	urls := slices.Compact([]string{s.OrdersMetricsURL, s.NotificationsMetricsURL})
	return slices.DeleteFunc(urls, func(url string) bool { return url == "" })
}

// ErrNotRunning says that no stack is running.
var ErrNotRunning = errors.New("no stack is running")

// ErrRunning says that a stack is already running.
var ErrRunning = errors.New("a stack is already running")

// StartingError says that a stack is starting, or that another pulsectl works
// on containers. It matches ErrNotRunning.
type StartingError struct {
	PID int // 0: unknown, as for containers
}

func (e *StartingError) Error() string {
	if e.PID == 0 {
		return "another pulsectl is working on a stack"
	}
	return fmt.Sprintf("a stack is starting (process %d)", e.PID)
}

// Is reports whether target is ErrNotRunning.
func (e *StartingError) Is(target error) bool { return target == ErrNotRunning }

// ErrNoDir says that there is no directory for the state.
var ErrNoDir = errors.New("no home directory, and PULSE_STATE_DIR is not set")

// Dir returns the directory of the state file: PULSE_STATE_DIR, or pulse-events
// in the user's state directory (XDG_STATE_HOME, ~/.local/state).
func Dir(getenv func(string) string) (string, error) {
	if dir := getenv("PULSE_STATE_DIR"); dir != "" {
		return dir, nil
	}
	if base := getenv("XDG_STATE_HOME"); base != "" {
		return filepath.Join(base, "pulse-events"), nil
	}
	home := getenv("HOME")
	if home == "" {
		return "", ErrNoDir
	}
	return filepath.Join(home, ".local", "state", "pulse-events"), nil
}

// Path returns the path of the state file.
func Path(dir string) string { return filepath.Join(dir, "stack.json") }

func lockPath(dir string) string { return filepath.Join(dir, "stack.lock") }

// LogPath returns the path of a detached stack's log.
func LogPath(dir string) string { return filepath.Join(dir, "stack.log") }

// Load returns the running stack, or ErrNotRunning, which may be a
// StartingError. The stack's process holds a lock as long as it lives, so the
// record of a killed process is ignored. Containers have no such process: their
// record is valid until down removes it.
func Load(dir string) (State, error) {
	s, err := noted(dir)
	if err == nil && s.Driver().Detached() {
		return s, nil
	}
	if err != nil && !errors.Is(err, ErrNotRunning) {
		return State{}, err
	}
	switch held, lockErr := locked(dir); {
	case lockErr != nil:
		return State{}, lockErr
	case !held:
		return State{}, ErrNotRunning
	case err != nil, s.Starting:
		return State{}, &StartingError{s.PID}
	}
	return s, nil
}

// noted reads the record, valid or not.
func noted(dir string) (s State, err error) {
	raw, err := os.ReadFile(Path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, ErrNotRunning
	}
	if err != nil {
		return State{}, fmt.Errorf("read state: %w", err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return State{}, fmt.Errorf("read state %s: %w", Path(dir), err)
	}
	return s, nil
}

func locked(dir string) (bool, error) {
	// Reading creates no file: the directory may not exist or belong to another
	// user.
	if _, err := os.Stat(lockPath(dir)); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	l := flock.New(lockPath(dir))
	got, err := l.TryRLock() // shared, so that two readers do not take each other for the stack
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", lockPath(dir), err)
	}
	if !got {
		return true, nil
	}
	return false, l.Unlock()
}

// Claim takes the stack's lock for this process, or returns ErrRunning. The
// returned Claimed is released by Release or by the end of the process.
// Recorded containers are running: they can only be claimed as containers.
func Claim(dir string, kind Kind) (*Claimed, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	l := flock.New(lockPath(dir), flock.SetPermissions(0o600))
	// Longer than a reader holds the lock, see locked.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	got, err := l.TryLockContext(ctx, 20*time.Millisecond)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("lock %s: %w", lockPath(dir), err)
	}
	if !got {
		return nil, ErrRunning
	}
	c := &Claimed{dir: dir, lock: l, detached: State{Stack: kind}.Driver().Detached()}
	if s, err := noted(dir); err == nil && s.Driver().Detached() {
		if kind == s.Stack {
			return c, nil
		}
		return nil, errors.Join(ErrRunning, l.Unlock())
	}
	// The record of a killed stack must not be taken for this one.
	err = c.Forget()
	if !c.detached {
		err = errors.Join(err, c.Publish(State{Stack: kind, PID: os.Getpid(), StartedAt: time.Now().UTC(), Starting: true}))
	}
	if err != nil {
		return nil, errors.Join(err, l.Unlock())
	}
	return c, nil
}

// Claimed is the right to be the running stack.
type Claimed struct {
	dir      string
	lock     *flock.Flock
	detached bool // the recorded stack runs without this process
}

// Publish writes the record atomically.
func (c *Claimed) Publish(s State) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	tmp := Path(c.dir) + ".new"
	if err := os.WriteFile(tmp, append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return os.Rename(tmp, Path(c.dir))
}

// Forget removes the record.
func (c *Claimed) Forget() error {
	err := os.Remove(Path(c.dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Release releases the lock. What ran in this process ends with it, and so does
// its record; a record of containers stays.
func (c *Claimed) Release() error {
	var err error
	if !c.detached {
		err = c.Forget()
	}
	return errors.Join(err, c.lock.Unlock())
}

// Redacted returns s with the passwords in its URLs hidden.
func (s State) Redacted() State {
	s.OutboxDB = rabbit.RedactURL(s.OutboxDB)
	s.InboxDB = rabbit.RedactURL(s.InboxDB)
	s.AMQPURL = rabbit.RedactURL(s.AMQPURL)
	if s.APIToken != "" {
		s.APIToken = "xxxxx"
	}
	return s
}
