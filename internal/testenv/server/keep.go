package main

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
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/host"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
	"github.com/asimalizada/pulse-events/internal/testenv/server/service"
)

const (
	idleLimit = 10 * time.Second       // without users before the keeper ends
	watchTick = 500 * time.Millisecond // between two checks of the lock
)

type keeper struct {
	dir string

	shared map[protocol.Kind]func() (*service.Instance, error)

	mu      sync.Mutex
	running []*service.Instance // the shared ones
	private map[string]private
	made    int
}

type private struct {
	*service.Instance
	owner int
}

// keep owns servers until no process uses them.
func keep(dir string) error {
	lock := flock.New(filepath.Join(dir, "lock"))
	defer lock.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := clearUp(ctx, dir); err != nil {
		slog.Warn("clearing up after an earlier keeper", "error", err)
	}
	listener, err := net.Listen("unix", protocol.Socket(dir))
	if err != nil {
		return err
	}
	k := &keeper{dir: dir, shared: map[protocol.Kind]func() (*service.Instance, error){}, private: map[string]private{}}
	for _, kind := range protocol.Kinds {
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

// clearUp stops and deletes what a killed keeper left behind.
func clearUp(ctx context.Context, dir string) error {
	problems := []error{service.KillMarked(dir), service.RemoveOrphans(ctx)}
	entries, err := os.ReadDir(dir)
	problems = append(problems, err)
	for _, e := range entries {
		if e.IsDir() || e.Name() == filepath.Base(protocol.Socket(dir)) {
			problems = append(problems, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(problems...)
}

// watch returns, with the lock held exclusively, once no process has held it
// for the idle limit; or when ctx ends, with or without it.
func (k *keeper) watch(ctx context.Context, lock *flock.Flock) error {
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
		locked, err := lock.TryLock()
		switch {
		case err != nil:
			return err
		case !locked:
			lastUsed = time.Now()
		case time.Since(lastUsed) >= idleLimit:
			return nil
		default:
			if err := lock.Unlock(); err != nil {
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
	if err := conn.SetDeadline(time.Now().Add(protocol.AnswerLimit)); err != nil {
		return err
	}
	var req protocol.Request
	if err := json.NewDecoder(conn).Decode(&req); err != nil {
		return err
	}
	rep, err := k.do(ctx, req)
	if err != nil {
		slog.Warn("request failed", "op", req.Op, "kind", req.Kind, "id", req.ID, "error", err)
		rep.Error, rep.Unavailable = err.Error(), errors.Is(err, protocol.ErrUnavailable)
	}
	return json.NewEncoder(conn).Encode(rep)
}

func (k *keeper) do(ctx context.Context, req protocol.Request) (protocol.Reply, error) {
	switch req.Op {
	case protocol.Ping:
		return protocol.Reply{PID: os.Getpid()}, nil
	case protocol.Find:
		source, err := service.Find(ctx, req.Kind)
		return protocol.Reply{Source: source}, err
	case protocol.Docker:
		_, err := service.DockerPool(ctx)
		return protocol.Reply{}, err
	case protocol.Pull:
		return protocol.Reply{}, service.EnsureImage(ctx, req.Image)
	case protocol.Share:
		get, ok := k.shared[req.Kind]
		if !ok {
			return protocol.Reply{}, fmt.Errorf("unknown service %q", req.Kind)
		}
		i, err := get()
		if err != nil {
			return protocol.Reply{}, err
		}
		return protocol.Reply{Endpoints: i.Endpoints}, i.Start(ctx) // it may have ended by itself
	case protocol.Make:
		return k.make(ctx, req)
	case protocol.Group:
		return k.group(ctx, req)
	}
	k.mu.Lock()
	p, ok := k.private[req.ID]
	if ok && req.Op == protocol.Remove {
		delete(k.private, req.ID)
	}
	k.mu.Unlock()
	if !ok {
		return protocol.Reply{}, fmt.Errorf("no server %q: it was removed", req.ID)
	}
	switch req.Op {
	case protocol.Start:
		return protocol.Reply{}, p.Start(ctx)
	case protocol.Stop:
		return protocol.Reply{}, p.Stop(ctx, req.How)
	case protocol.Eval:
		text, err := p.Eval(ctx, req.Text)
		return protocol.Reply{Text: text}, err
	case protocol.Remove:
		return protocol.Reply{}, p.Remove()
	}
	return protocol.Reply{}, fmt.Errorf("unknown operation %q", req.Op)
}

func (k *keeper) nextID(kind protocol.Kind) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.made++
	return fmt.Sprintf("%s-%d", kind, k.made)
}

// group starts a cluster, each node of which is a private server.
func (k *keeper) group(ctx context.Context, req protocol.Request) (rep protocol.Reply, err error) {
	id := k.nextID("cluster")
	nodes, err := service.NewCluster(ctx, filepath.Join(k.dir, id), req.Nodes)
	if err != nil {
		return rep, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for n, i := range nodes {
		m := protocol.Member{ID: fmt.Sprintf("%s-%d", id, n), Endpoints: i.Endpoints}
		k.private[m.ID] = private{Instance: i, owner: req.Owner}
		rep.Members = append(rep.Members, m)
	}
	return rep, nil
}

func (k *keeper) make(ctx context.Context, req protocol.Request) (protocol.Reply, error) {
	id := k.nextID(req.Kind)
	i, err := service.New(ctx, req.Kind, filepath.Join(k.dir, id))
	if err != nil {
		return protocol.Reply{}, err
	}
	k.mu.Lock()
	k.private[id] = private{Instance: i, owner: req.Owner}
	k.mu.Unlock()
	return protocol.Reply{ID: id, Endpoints: i.Endpoints}, nil
}

// removeOrphaned removes the private servers of processes that have ended
// without removing them.
func (k *keeper) removeOrphaned() {
	k.mu.Lock()
	var orphans []private
	for id, p := range k.private {
		if !host.Alive(p.owner) {
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

// close stops all servers and deletes the directory.
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
