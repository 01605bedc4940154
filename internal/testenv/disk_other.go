//go:build !linux

package testenv

// Disk is a small file system that holds a server's data.
type Disk struct{}

// OnDisk skips the test: there are such disks on Linux only.
func (s *Server) OnDisk(string, int64) *Disk {
	s.t.Helper()
	s.t.Skip("testenv: a disk of its own needs Linux")
	return nil
}

// Fill is for Linux.
func (*Disk) Fill() {}

// Free is for Linux.
func (*Disk) Free() {}
