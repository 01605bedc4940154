package bench

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	psnet "github.com/shirou/gopsutil/v4/net"
)

// usage reads the processor time of this process and of the servers: a measure
// that other load on the machine disturbs less than it does rates.
type usage struct {
	b    *testing.B
	pids map[string]int // by what the process is
}

// The processes whose processor time is measured.
const (
	here     = "here" // the relay, the consumer or the bare client
	server   = "broker"
	database = "database"
)

// newUsage measures this process, and the servers that listen at the ports of
// URLs, as far as they run on this Linux and may be looked at.
func newUsage(b *testing.B, servers map[string]string) *usage {
	b.Helper()
	u := &usage{b: b, pids: make(map[string]int)}
	connections, err := psnet.Connections("tcp")
	if _, unknown := processorTime(os.Getpid(), false); err != nil || unknown != nil {
		b.Logf("processor time is not measured: %v", errors.Join(err, unknown))
		return u
	}
	u.pids[here] = os.Getpid()
	for name, server := range servers {
		at, err := url.Parse(server)
		if err != nil {
			b.Fatal("a server's URL cannot be parsed")
		}
		for _, c := range connections {
			if c.Status == "LISTEN" && strconv.Itoa(int(c.Laddr.Port)) == at.Port() && c.Pid != 0 {
				u.pids[name] = int(c.Pid)
			}
		}
	}
	return u
}

// read returns the time used so far, by process.
func (u *usage) read() map[string]time.Duration {
	u.b.Helper()
	used := make(map[string]time.Duration)
	for name, pid := range u.pids {
		spent, err := processorTime(pid, name != here) // its children are servers
		if err != nil {
			u.b.Fatal(err)
		}
		used[name] = spent
	}
	return used
}

// processorTime returns what a process has used, if family is true with the children
// that it has waited for and those that run: in nanoseconds, but for those that have
// ended, of which the system tells hundredths of a second.
func processorTime(pid int, family bool) (sum time.Duration, err error) {
	directory := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(directory, "stat"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // behind the name
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return 0, fmt.Errorf("%s/stat: %q", directory, stat)
	}
	if family {
		for _, field := range fields[13:15] { // cutime, cstime
			sum += number(field) * 10 * time.Millisecond
		}
	}
	threads, _ := filepath.Glob(filepath.Join(directory, "task", "*")) // the pattern is valid
	for _, thread := range threads {
		// Threads and children may have ended.
		scheduled, _ := os.ReadFile(filepath.Join(thread, "schedstat"))
		if fields := strings.Fields(string(scheduled)); len(fields) > 0 {
			sum += number(fields[0])
		}
		if !family {
			continue
		}
		children, _ := os.ReadFile(filepath.Join(thread, "children"))
		for _, child := range strings.Fields(string(children)) {
			spent, _ := processorTime(int(number(child)), true)
			sum += spent
		}
	}
	return sum, nil
}

// number is one that the system has written; 0 for anything else.
func number(text string) time.Duration {
	n, _ := strconv.ParseInt(text, 10, 64)
	return time.Duration(n)
}

// costs are microseconds of processor time per message, by process, one for
// each measurement.
type costs map[string][]float64

// measure notes what do costs, which handles n messages.
func (c costs) measure(u *usage, n int, do func()) {
	before := u.read()
	do()
	for name, used := range u.read() {
		c[name] = append(c[name], float64((used-before[name]).Nanoseconds())/1e3/float64(n))
	}
}

// report reports the medians.
func (c costs) report(b *testing.B, name string) {
	for _, process := range slices.Sorted(maps.Keys(c)) {
		b.ReportMetric(median(c[process]), name+"-"+process+"-us/msg")
	}
}

// turns are the measurements of one way to handle messages.
type turns struct {
	rates rates
	costs costs
}

// measure times do, which handles n messages, and notes what that costs.
func (t *turns) measure(u *usage, n int, do func()) {
	if t.costs == nil {
		t.costs = make(costs)
	}
	t.costs.measure(u, n, func() { t.rates.measure(n, do) })
}

func (t *turns) report(b *testing.B, name string) {
	t.rates.report(b, name)
	t.costs.report(b, name)
}

// countingConn counts what is written to a connection.
type countingConn struct {
	net.Conn
	bytes, writes *int
}

func (c countingConn) Write(p []byte) (int, error) {
	*c.bytes += len(p)
	*c.writes++
	return c.Conn.Write(p)
}
