package service

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/host"
)

// killTree kills a process and everything below it. PostgreSQL's backends and
// Erlang's helpers leave the process group, and a backend that outlives its
// postmaster keeps the shared memory, so that the server cannot start again:
// where /proc exists they are killed by descent. The first process is held
// still meanwhile, so that it makes no new ones.
func killTree(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("hold process %d: %w", pid, err)
	}
	below := descendants(pid)
	err := signalGroup(pid, syscall.SIGKILL)
	for _, child := range below {
		if e := syscall.Kill(child, syscall.SIGKILL); e != nil && !errors.Is(e, syscall.ESRCH) {
			err = errors.Join(err, fmt.Errorf("kill process %d: %w", child, e))
		}
	}
	for _, child := range below {
		awaitEnd(child, 5*time.Second)
	}
	return err
}

// descendants lists the processes below pid; empty without /proc.
func descendants(pid int) []int {
	parents := map[int][]int{}
	for _, p := range processIDs() {
		if _, ppid, ok := host.Stat(p); ok {
			parents[ppid] = append(parents[ppid], p)
		}
	}
	var below []int
	for queue := parents[pid]; len(queue) > 0; queue = queue[1:] {
		below = append(below, queue[0])
		queue = append(queue, parents[queue[0]]...)
	}
	return below
}

// awaitEnd waits until a process that is no child of ours has ended.
func awaitEnd(pid int, limit time.Duration) {
	for deadline := time.Now().Add(limit); host.Alive(pid) && time.Now().Before(deadline); {
		time.Sleep(2 * time.Millisecond)
	}
}

// KillMarked kills the processes that serve directories below dir and were
// left running by a keeper that is gone. It needs /proc.
func KillMarked(dir string) error {
	var problems []error
	mark := []byte(MarkVariable + "=" + dir + string(filepath.Separator))
	for _, pid := range processIDs() {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || !bytes.Contains(env, mark) {
			continue // gone, or another user's
		}
		problems = append(problems, killTree(pid))
		awaitEnd(pid, 5*time.Second)
	}
	return errors.Join(problems...)
}

func processIDs() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
