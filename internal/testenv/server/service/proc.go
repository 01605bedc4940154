package service

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/host"
)

// killTree kills a process and all its descendants. PostgreSQL's backends and
// Erlang's helpers leave the process group, and a backend that outlives its
// postmaster keeps the shared memory, so that the server cannot start again:
// they are found by descent. The first process is stopped meanwhile, so that it
// starts no new ones.
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

// descendants lists the processes below pid.
func descendants(pid int) []int {
	parents := map[int][]int{}
	for _, p := range allProcesses() {
		if ppid, err := p.Ppid(); err == nil {
			parents[int(ppid)] = append(parents[int(ppid)], int(p.Pid))
		}
	}
	var below []int
	for queue := parents[pid]; len(queue) > 0; queue = queue[1:] {
		below = append(below, queue[0])
		queue = append(queue, parents[queue[0]]...)
	}
	return below
}

// awaitEnd waits until a process that is not a child of this one has ended.
func awaitEnd(pid int, limit time.Duration) {
	for deadline := time.Now().Add(limit); host.Alive(pid) && time.Now().Before(deadline); {
		time.Sleep(2 * time.Millisecond)
	}
}

// KillMarked kills the processes that serve directories below dir and were left
// running by a keeper that has ended.
func KillMarked(dir string) error {
	var problems []error
	mark := MarkVariable + "=" + dir + string(filepath.Separator)
	for _, p := range allProcesses() {
		env, err := p.Environ()
		if err != nil || !slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, mark) }) {
			continue // ended, or another user's
		}
		problems = append(problems, killTree(int(p.Pid)))
		awaitEnd(int(p.Pid), 5*time.Second)
	}
	return errors.Join(problems...)
}

// allProcesses lists the processes of this machine; none if the system does not
// provide them.
func allProcesses() []*process.Process {
	list, err := process.Processes()
	if err != nil {
		return nil
	}
	return list
}
