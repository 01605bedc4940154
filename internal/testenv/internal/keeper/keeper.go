package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/service"
)

// A process started with this variable is not there for its own work but for
// the job the variable names.
const (
	jobVariable = "PULSE_TESTENV_JOB"
	keepJob     = "keep"    // keep|directory
	controlJob  = "control" // control|socket|id|operation|manner
)

const (
	idleLimit = 10 * time.Second       // without users before the keeper ends
	watchTick = 500 * time.Millisecond // between two looks at the lock
)

// initialised says that RunIfAsked was called: without it a keeper started
// from this program would run its ordinary work, such as tests that start
// keepers.
var initialised bool

// RunIfAsked does the job this process was started for, if any, and ends the
// process; otherwise it returns at once.
func RunIfAsked() {
	job := strings.Split(os.Getenv(jobVariable), "|")
	var err error
	switch {
	case job[0] == "":
		initialised = true
		return
	case job[0] == keepJob && len(job) == 2:
		err = keep(job[1])
	case job[0] == controlJob && len(job) == 5:
		_, err = ask(job[1], request{ID: job[2], Op: operation(job[3]), How: service.Manner(job[4])})
	default:
		err = fmt.Errorf("unknown job in %s", jobVariable)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

type keeper struct {
	dir string

	shared map[service.Kind]func() (*service.Instance, error)

	mu      sync.Mutex
	running []*service.Instance // the shared ones
	private map[string]private
	made    int
}

type private struct {
	*service.Instance
	owner int
}

// keep owns servers until nobody uses them.
func keep(dir string) error {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer lock.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := clearUp(ctx, dir); err != nil {
		slog.Warn("clearing up after an earlier keeper", "error", err)
	}
	listener, err := net.Listen("unix", socketIn(dir))
	if err != nil {
		return err
	}
	k := &keeper{dir: dir, shared: map[service.Kind]func() (*service.Instance, error){}, private: map[string]private{}}
	for _, kind := range service.Kinds {
		k.shared[kind] = sync.OnceValues(func() (*service.Instance, error) {
			i, err := service.New(ctx, kind, filepath.Join(dir, "shared-"+string(kind)))
			if err == nil {
				k.mu.Lock()
				k.running = append(k.running, i)
				k.mu.Unlock()
			}
			return i, err
		})
	}
	var serving sync.WaitGroup
	serving.Go(func() { k.serve(ctx, listener, &serving) })
	watchErr := k.watch(ctx, lock)
	stop()
	err = errors.Join(watchErr, listener.Close())
	serving.Wait()
	return errors.Join(err, k.close())
}

// clearUp ends and deletes what a keeper left that was itself killed.
func clearUp(ctx context.Context, dir string) error {
	problems := []error{service.KillMarked(dir), service.RemoveOrphans(ctx)}
	entries, err := os.ReadDir(dir)
	problems = append(problems, err)
	for _, e := range entries {
		if e.IsDir() || e.Name() == filepath.Base(socketIn(dir)) {
			problems = append(problems, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(problems...)
}

// watch returns, with the lock held alone, once nobody has held it for the
// idle limit; or when ctx ends, with or without it.
func (k *keeper) watch(ctx context.Context, lock *os.File) error {
	tick := time.NewTicker(watchTick)
	defer tick.Stop()
	lastUsed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		k.removeOrphaned()
		err := flock(lock, syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EWOULDBLOCK):
			lastUsed = time.Now()
		case err != nil:
			return err
		case time.Since(lastUsed) >= idleLimit:
			return nil
		default:
			if err := flock(lock, syscall.LOCK_UN); err != nil {
				return err
			}
		}
	}
}

func (k *keeper) serve(ctx context.Context, listener net.Listener, serving *sync.WaitGroup) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // closed
		}
		serving.Go(func() {
			defer conn.Close()
			if err := k.answer(ctx, conn); err != nil {
				slog.Warn("request", "error", err)
			}
		})
	}
}

func (k *keeper) answer(ctx context.Context, conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return err
	}
	var req request
	if err := json.NewDecoder(conn).Decode(&req); err != nil {
		return err
	}
	rep, err := k.do(ctx, req)
	if err != nil {
		slog.Warn("request failed", "op", req.Op, "kind", req.Kind, "id", req.ID, "error", err)
		rep.Error, rep.Unavailable = err.Error(), errors.Is(err, service.ErrUnavailable)
	}
	return json.NewEncoder(conn).Encode(rep)
}

func (k *keeper) do(ctx context.Context, req request) (reply, error) {
	switch req.Op {
	case opPing:
		return reply{PID: os.Getpid()}, nil
	case opShare:
		get, ok := k.shared[req.Kind]
		if !ok {
			return reply{}, fmt.Errorf("unknown service %q", req.Kind)
		}
		i, err := get()
		if err != nil {
			return reply{}, err
		}
		return reply{Endpoints: i.Endpoints}, i.Start(ctx) // it may have ended by itself
	case opMake:
		return k.make(ctx, req)
	}
	k.mu.Lock()
	p, ok := k.private[req.ID]
	if ok && req.Op == opRemove {
		delete(k.private, req.ID)
	}
	k.mu.Unlock()
	if !ok {
		return reply{}, fmt.Errorf("no server %q: it was removed", req.ID)
	}
	switch req.Op {
	case opStart:
		return reply{}, p.Start(ctx)
	case opStop:
		return reply{}, p.Stop(ctx, req.How)
	case opRemove:
		return reply{}, p.Remove()
	}
	return reply{}, fmt.Errorf("unknown operation %q", req.Op)
}

func (k *keeper) make(ctx context.Context, req request) (reply, error) {
	k.mu.Lock()
	k.made++
	id := fmt.Sprintf("%s-%d", req.Kind, k.made)
	k.mu.Unlock()
	i, err := service.New(ctx, req.Kind, filepath.Join(k.dir, id))
	if err != nil {
		return reply{}, err
	}
	k.mu.Lock()
	k.private[id] = private{Instance: i, owner: req.Owner}
	k.mu.Unlock()
	return reply{ID: id, Endpoints: i.Endpoints}, nil
}

// removeOrphaned removes the private servers of processes that have ended
// without doing so.
func (k *keeper) removeOrphaned() {
	k.mu.Lock()
	var orphans []private
	for id, p := range k.private {
		if !service.Alive(p.owner) {
			orphans = append(orphans, p)
			delete(k.private, id)
		}
	}
	k.mu.Unlock()
	for _, p := range orphans {
		if err := p.Remove(); err != nil {
			slog.Warn("removing the server of a process that has ended", "error", err)
		}
	}
}

// close ends all servers and deletes the directory.
func (k *keeper) close() error {
	var problems []error
	for _, p := range k.private {
		problems = append(problems, p.Remove())
	}
	for _, i := range k.running {
		problems = append(problems, i.Remove())
	}
	return errors.Join(append(problems, os.RemoveAll(k.dir))...)
}
