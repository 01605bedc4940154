package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

const readmePath = "../README.md"

// readmeBlocks returns the blocks of commands in README.md under a heading, or
// before the first heading for an empty one.
func readmeBlocks(t *testing.T, heading string) string {
	t.Helper()
	if heading != "" {
		heading = "## " + heading
	}
	return blocks(t, readmePath, heading)
}

// blocks returns the blocks of commands of a page under a heading, up to the next
// of the second level.
func blocks(t *testing.T, path, heading string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	section := string(text)
	if heading != "" {
		_, rest, found := strings.Cut(section, "\n"+heading+"\n")
		if !found {
			t.Fatalf("%s has no section %q", path, heading)
		}
		section = rest
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks strings.Builder
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		blocks.WriteString(m[1])
	}
	if blocks.Len() == 0 {
		t.Fatalf("%s has nothing to be pasted under %q", path, heading)
	}
	return blocks.String()
}

// The blocks have only commands: no prompts, no output, no comments (zsh takes #
// for a word), no placeholders.
func TestReadmeBlocksPlainCommands(t *testing.T) {
	text, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	for _, fence := range regexp.MustCompile("(?m)^```(\\w+)$").FindAllStringSubmatch(string(text), -1) {
		if fence[1] != "sh" && fence[1] != "go" {
			t.Errorf("README.md has a block of %q: it gives sh and go, and shows the rest without a language", fence[1])
		}
	}
	for _, heading := range []string{"", "Play with it", "In containers"} {
		for line := range strings.Lines(readmeBlocks(t, heading)) {
			if regexp.MustCompile(`^\$ |#|<[a-z]|\bID\b`).MatchString(line) {
				t.Errorf("cannot be pasted: %s", line)
			}
		}
	}
}

// The blocks of README.md work from top to bottom, as a script on standard input
// that stops at the first error.
func TestReadmePasted(t *testing.T) {
	testenv.Tool(t, "curl")
	orders, notifications := freeAddr(t), freeAddr(t)
	out := paste(t, readmeBlocks(t, "")+readmeBlocks(t, "Play with it"),
		strings.NewReplacer("127.0.0.1:6101", orders, "127.0.0.1:6102", notifications),
		"PULSE_OUTBOX_DB=", "PULSE_INBOX_DB=", "PULSE_AMQP_URL=",
		"PULSE_ORDERS_ADDR="+orders, "PULSE_NOTIFICATIONS_ADDR="+notifications, "PULSE_BROKER_ADDR=127.0.0.1:0", "PULSE_METRICS_ADDR=127.0.0.1:0")
	id := regexp.MustCompile(`"orderId":"([0-9a-f-]{36})","eventId".*"correlationId":"demo-1"`).FindStringSubmatch(out)
	if id == nil {
		t.Fatalf("no order was placed:\n%s", out)
	}
	for _, want := range []string{`"orderId":"` + id[1] + `","eventId"`, "replayed\t3\n", "verdict\tok\n", "stopped\ttrue\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if n := strings.Count(out, `"orderId":"`+id[1]); n != 2 {
		t.Errorf("%d of the order itself and one notification of it, want 2:\n%s", n, out)
	}
}

func TestReadmePastedCompose(t *testing.T) {
	variables := composeProject(t)
	out := paste(t, readmeBlocks(t, "In containers"), strings.NewReplacer(), variables...)
	for _, want := range []string{"customer-123\t77.5", "verdict\tok\n", "stopped\ttrue\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// The practice session of the runbook: a handler with a bug, its dead letters, the
// cause, and how they are healed.
func TestOperationsPractice(t *testing.T) {
	cmd := exec.Command("bash", "-e", "-o", "pipefail")
	cmd.Env = append(os.Environ(), "PULSE_OUTBOX_DB=", "PULSE_INBOX_DB=", "PULSE_AMQP_URL=", "PULSE_STATE_DIR="+t.TempDir(),
		"PULSE_ORDERS_ADDR=127.0.0.1:0", "PULSE_NOTIFICATIONS_ADDR=127.0.0.1:0", "PULSE_BROKER_ADDR=127.0.0.1:0", "PULSE_METRICS_ADDR=127.0.0.1:0")
	t.Cleanup(func() {
		down := exec.Command("pulsectl", "down")
		down.Env = cmd.Env
		if out, err := down.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", down, err, out)
		}
	})
	cmd.Stdin = strings.NewReader(blocks(t, "../docs/operations.md", "### Practice"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rest := string(out)
	for _, want := range []string{
		"deadLettered\t4\n", "lost\t0\n", // verify
		"broker\tdegraded\t4 dead letters in order.created.dlq", // status
		"\t4\thandler\t",                              // dlq stats
		"pulsectl dlq requeue ",                       // trace
		"became dead letters again", "poison-handler", // dlq heal, chaos ls
		"applied\t4\n", "left\t0\n", // dlq heal
		"effects\t4\n", "deadLettered\t0\n", "lost\t0\n", "duplicated\t0\n", "verdict\tok\n", // verify
		"dlq heal", // outbox audit
		"stopped\ttrue\n",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("no %q, or not in this place, in\n%s", want, out)
		}
		rest = after
	}
}

// paste runs commands at the root of the repository, where go install is a
// program's first step.
func paste(t *testing.T, commands string, addresses *strings.Replacer, variables ...string) string {
	t.Helper()
	dir := t.TempDir()
	env := append(os.Environ(), "GOPATH="+filepath.Join(dir, "go"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"), "GOBIN=",
		"PULSE_STATE_DIR="+filepath.Join(dir, "state"), "PATH="+filepath.Dir(lookPath(t, "go"))+":/usr/local/bin:/usr/bin:/bin")
	env = append(env, variables...)
	if !strings.Contains(commands, "go install") {
		commands = readmeBlocks(t, "") + commands
	}
	t.Cleanup(func() {
		down := exec.Command(filepath.Join(dir, "go", "bin", "pulsectl"), "down")
		down.Env = env
		if out, err := down.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", down, err, out)
		}
	})
	cmd := exec.Command("bash", "-e", "-o", "pipefail")
	cmd.Dir, cmd.Env = "..", env
	cmd.Stdin = strings.NewReader(addresses.Replace(commands))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// A user pastes a block at once: the shell gets commands while others still run.
func TestReadmePastedIntoTerminal(t *testing.T) {
	for _, shell := range []string{"bash --norc --noprofile", "zsh -f"} {
		name, _, _ := strings.Cut(shell, " ")
		t.Run(name, func(t *testing.T) {
			testenv.Tool(t, name)
			testenv.Tool(t, "curl")
			orders, notifications := freeAddr(t), freeAddr(t)
			term := openTerminal(t, "80", shell, "PULSE_ORDERS_ADDR="+orders, "PULSE_NOTIFICATIONS_ADDR="+notifications, "PULSE_BROKER_ADDR=127.0.0.1:0", "PULSE_METRICS_ADDR=127.0.0.1:0")
			commands := readmeBlocks(t, "Play with it") + "echo all is pasted\n"
			file := filepath.Join(t.TempDir(), "commands")
			commands = strings.NewReplacer("127.0.0.1:6101", orders, "127.0.0.1:6102", notifications).Replace(commands)
			if err := os.WriteFile(file, []byte(commands), 0o600); err != nil {
				t.Fatal(err)
			}
			term.tmux("load-buffer", file)
			term.tmux("paste-buffer", "-p")
			term.typing("Enter")
			shown := term.shows("^all is pasted$")
			for _, want := range []string{`(?m)^\[\{"id":`, `(?m)^replayed +3$`, `(?m)^verdict +ok$`, `(?m)^stopped +true$`} {
				if !regexp.MustCompile(want).MatchString(shown) {
					t.Errorf("no %s in\n%s", want, shown)
				}
			}
			if regexp.MustCompile(`(?m)^error:|command not found`).MatchString(shown) {
				t.Errorf("something failed:\n%s", shown)
			}
		})
	}
}

// The demo prints what README.md shows.
func TestReadmeDemo(t *testing.T) {
	text, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```\n\\$ pulsectl demo\n(.*?)```").FindStringSubmatch(string(text))
	if shown == nil {
		t.Fatal("README.md does not show the demo")
	}
	out, err := exec.Command("pulsectl", "demo", "-o", "table").Output()
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(shown[1], "...\n") {
		if !strings.Contains(string(out), part) {
			t.Errorf("the demo says\n%s\nand not\n%s", out, part)
		}
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func lookPath(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// freeAddr is an address nobody listened on a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
