package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Disk is a small file system that holds a server's data, in memory.
type Disk struct {
	t   testing.TB
	dir string
}

// OnDisk moves dir, a directory of the server's data, to a file system of its own
// of so many bytes, for which the server is stopped and started. The test is
// skipped where the server does not run on this machine, or where this process
// may not mount.
func (s *Server) OnDisk(dir string, bytes int64) *Disk {
	s.t.Helper()
	info, err := os.Stat(dir)
	if err != nil {
		s.t.Skipf("testenv: a disk of its own needs a server of this machine: %v", err)
	}
	s.Stop()
	owner := info.Sys().(*syscall.Stat_t)
	aside := dir + ".aside"
	err = errors.Join(os.Rename(dir, aside), os.Mkdir(dir, 0o700), os.Chown(dir, int(owner.Uid), int(owner.Gid)))
	if err == nil {
		err = syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=%o,uid=%d,gid=%d", bytes, info.Mode().Perm(), owner.Uid, owner.Gid))
	}
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		s.t.Skipf("testenv: a disk of its own needs the right to mount: %v", err)
	}
	if err != nil {
		s.t.Fatalf("testenv: %v", err)
	}
	s.t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			s.t.Errorf("testenv: unmount %s: %v", dir, err)
		}
	})
	if out, err := exec.Command("cp", "-a", aside+"/.", dir).CombinedOutput(); err != nil {
		s.t.Fatalf("testenv: %v\n%s", err, out)
	}
	if err := os.RemoveAll(aside); err != nil {
		s.t.Fatalf("testenv: %v", err)
	}
	s.Start()
	return &Disk{s.t, dir}
}

func (d *Disk) filler() string { return filepath.Join(d.dir, "pulse-filler") }

// Fill leaves no room.
func (d *Disk) Fill() {
	d.t.Helper()
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatalf("testenv: %v", err)
	}
	defer f.Close()
	chunk := int64(16 << 20)
	for at := int64(0); chunk > 0; {
		err := syscall.Fallocate(int(f.Fd()), 0, at, chunk)
		switch {
		case err == nil:
			at += chunk
		case errors.Is(err, syscall.ENOSPC):
			chunk /= 2
		case errors.Is(err, syscall.EINTR):
		default:
			d.t.Fatalf("testenv: %v", err)
		}
	}
}

// Free makes room again.
func (d *Disk) Free() {
	d.t.Helper()
	if err := os.Remove(d.filler()); err != nil {
		d.t.Fatalf("testenv: %v", err)
	}
}
