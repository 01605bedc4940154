package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// terminal is a real terminal with a shell: it wraps lines again when it is
// resized, as desktop terminals do.
type terminal struct {
	t      *testing.T
	socket string
	env    []string
}

// openTerminal opens a terminal of 24 lines with a shell in it, in which pulsectl
// can be typed.
func openTerminal(t *testing.T, width, shell string, env ...string) *terminal {
	t.Helper()
	testenv.Tool(t, "tmux")
	pulsectl, err := exec.LookPath("pulsectl")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	term := &terminal{t, filepath.Join(dir, "tmux"), append(env, "HOME="+dir, "PULSE_STATE_DIR="+filepath.Join(dir, "state"),
		"PATH="+filepath.Dir(pulsectl)+":/usr/bin:/bin", "LC_ALL=C.UTF-8", "HISTFILE=", "TERM=xterm-256color")}
	term.tmux("-f", "/dev/null", "new-session", "-d", "-x", width, "-y", "24", shell)
	t.Cleanup(func() { term.tmux("kill-server") })
	term.shows(`[#$%>] ?$`) // its prompt
	return term
}

func (term *terminal) tmux(args ...string) string {
	term.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", term.socket}, args...)...)
	cmd.Env = term.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		term.t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

func (term *terminal) typing(keys ...string) {
	term.t.Helper()
	term.tmux(append([]string{"send-keys", "--"}, keys...)...)
}

// shows waits until a line of the terminal matches, and returns all that it
// shows.
func (term *terminal) shows(pattern string) string {
	term.t.Helper()
	line := regexp.MustCompile(`(?m)` + pattern)
	shown := ""
	defer func() {
		if term.t.Failed() {
			term.t.Logf("the terminal shows\n%s", shown)
		}
	}()
	testenv.Eventually(term.t, time.Minute, "the terminal to show "+pattern, func() bool {
		shown = strings.TrimRight(term.tmux("capture-pane", "-p", "-S", "-100"), "\n")
		return line.MatchString(shown)
	})
	return shown
}

// A line that is drawn in place stays one line in a terminal that becomes
// narrower and wider again, and does not change the lines above it.
func TestLiveLineSurvivesResizing(t *testing.T) {
	term := openTerminal(t, "80", "bash --norc --noprofile", "PULSE_ORDERS_ADDR=127.0.0.1:0", "PULSE_NOTIFICATIONS_ADDR=127.0.0.1:0", "PULSE_BROKER_ADDR=127.0.0.1:0", "PULSE_METRICS_ADDR=127.0.0.1:0")
	defer func() {
		term.typing("pulsectl down; echo is down", "Enter")
		term.shows("^is down$")
	}()
	term.typing("pulsectl up --detach -q && pulsectl chaos broker-down && pulsectl order create --customer a --amount 1 -q; clear; echo before", "Enter")
	term.shows("^before$")
	term.typing("pulsectl outbox wait --drained", "Enter")
	// The line becomes longer when the relay has said that it is not ready.
	for _, size := range []struct{ width, line string }{
		{"80", `^waiting for the outbox to drain: 1 still pending(,.*)?( \(\d+s\)|…)$`},
		{"40", `^waiting for the outbox to drain: 1 sti…$`},
		{"25", `^waiting for the outbox …$`},
		{"60", `^waiting for the outbox to drain: 1 still pending(,.*)?( \(\d+s\)|…)$`},
	} {
		term.tmux("resize-window", "-x", size.width)
		shown := term.shows(size.line)
		if strings.Count(shown, "waiting") != 1 || !strings.Contains(shown, "before\n") {
			t.Errorf("at %s columns the terminal shows\n%s", size.width, shown)
		}
	}
	term.typing("C-c")
	shown := term.shows(`^error: interrupted, 1 still pending(,.*)?$`)
	if strings.Contains(shown, "waiting") {
		t.Errorf("after Ctrl-C the terminal shows\n%s", shown)
	}
	term.typing("echo exit code $?", "Enter")
	term.shows("^exit code 130$")
}

// What is watched is redrawn in place in a terminal that is resized, leaves what
// stands above it alone, and stays there in the end.
func TestWatchSurvivesResizing(t *testing.T) {
	term := openTerminal(t, "80", "bash --norc --noprofile", "PULSE_OUTBOX_DB=sqlite:outbox.db")
	term.typing("cd $HOME && pulsectl migrate up --only outbox -q; clear; echo before", "Enter")
	term.shows("^before$")
	term.typing("pulsectl outbox stats --watch", "Enter")
	for _, size := range []struct{ width, line string }{
		{"80", `^as of ..:..:.., every 1s; Ctrl-C ends$`},
		{"30", `^as of ..:..:.., every 1s; Ct…$`},
		{"60", `^as of ..:..:.., every 1s; Ctrl-C ends$`},
	} {
		term.tmux("resize-window", "-x", size.width)
		shown := term.shows(size.line)
		if strings.Count(shown, "pending  ") != 1 || strings.Count(shown, "as of") != 1 || !strings.Contains(shown, "before\n") {
			t.Errorf("at %s columns the terminal shows\n%s", size.width, shown)
		}
	}
	term.typing("C-c")
	term.typing("echo exit code $?", "Enter")
	shown := term.shows("^exit code 0$")
	if strings.Count(shown, "as of") != 1 {
		t.Errorf("after Ctrl-C the terminal shows\n%s", shown)
	}
}

// top draws the whole terminal, says what is not configured, and gives the
// terminal back as it was, whatever ends it.
func TestTopTerminal(t *testing.T) {
	term := openTerminal(t, "80", "bash --norc --noprofile", "PULSE_OUTBOX_DB=sqlite:outbox.db")
	term.typing("cd $HOME && pulsectl migrate up --only outbox -q; clear; stty -g >stty; echo before", "Enter")
	term.shows("^before$")
	signal := func(s syscall.Signal) func() {
		return func() {
			pid, err := os.ReadFile(filepath.Join(filepath.Dir(term.socket), "pid"))
			if err != nil {
				t.Fatal(err)
			}
			n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
			if err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(n, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, end := range []struct {
		by   string
		do   func()
		code string
	}{
		{"q", func() { term.typing("q") }, "0"},
		{"Ctrl-C", func() { term.typing("C-c") }, "0"},
		{"SIGTERM", signal(syscall.SIGTERM), "0"},
		{"SIGHUP", signal(syscall.SIGHUP), "1"},
	} {
		term.typing("sh -c 'echo $$ >pid; exec pulsectl top'; echo ended with $? and $(stty -g | cmp - stty)", "Enter")
		for _, size := range []string{"60", "80"} {
			term.tmux("resize-window", "-x", size)
			shown := term.shows("^outbox +ok +0 pending, ")
			for _, want := range []string{"pulsectl top  ", "\nenqueued ", "\npending              0", "\ninbox   not given  no inbox database given\n", "q quit   p pause"} {
				if !strings.Contains(shown, want) {
					t.Errorf("at %s columns no %q in\n%s", size, want, shown)
				}
			}
		}
		end.do()
		shown := term.shows("^ended with " + end.code + " and ?$")
		if strings.Contains(shown, "q quit") || !strings.Contains(shown, "before\n") {
			t.Errorf("%s left\n%s", end.by, shown)
		}
		term.typing("clear; echo before", "Enter")
		term.shows("^before$")
	}
}

// A terminal that is gone ends top, also if no signal tells.
func TestTopTerminalGone(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command("pulsectl", args...)
		cmd.Env = append(os.Environ(), "PULSE_STATE_DIR="+dir, "PULSE_OUTBOX_DB=sqlite:"+filepath.Join(dir, "outbox.db"), "TERM=xterm")
		return cmd
	}
	if out, err := run("migrate", "up", "--only", "outbox").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := run("top")
	outside, inside, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inside, inside, inside // it does not control the process: there is no SIGHUP
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = inside.Close()
	var drawn []byte
	for part := make([]byte, 4096); !strings.Contains(string(drawn), "q quit"); {
		n, err := outside.Read(part)
		if err != nil {
			t.Fatalf("%v; it drew\n%q", err, drawn)
		}
		drawn = append(drawn, part[:n]...)
	}
	if err := outside.Close(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer stuck.Stop()
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("ended with %v", err)
	}
}
