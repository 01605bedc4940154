package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	orderID = regexp.MustCompile(`"orderId":"([0-9a-f-]{36})"`)
	shownID = "01a2077e-aa18-74f6-bc5d-9af2b23e0269" // the order of README.md
)

// The sessions that README.md shows can be typed, line by line.
func TestReadmeSession(t *testing.T) {
	orders, notifications := freeAddr(t), freeAddr(t)
	typeSession(t, "Play with it", strings.NewReplacer("127.0.0.1:6101", orders, "127.0.0.1:6102", notifications),
		"PULSE_OUTBOX_DB=", "PULSE_INBOX_DB=", "PULSE_AMQP_URL=",
		"PULSE_ORDERS_ADDR="+orders, "PULSE_NOTIFICATIONS_ADDR="+notifications, "PULSE_BROKER_ADDR=127.0.0.1:0")
}

func TestReadmeSessionCompose(t *testing.T) {
	variables := composeProject(t)
	port := func(service string) string {
		for _, v := range variables {
			if number, found := strings.CutPrefix(v, "PULSE_"+service+"_STDLIB_PORT="); found {
				return "127.0.0.1:" + number
			}
		}
		t.Fatalf("no port of %s", service)
		return ""
	}
	typeSession(t, "In containers", strings.NewReplacer("127.0.0.1:6101", port("ORDERS"), "127.0.0.1:6102", port("NOTIFICATIONS")), variables...)
}

// typeSession types the first session under a heading of README.md.
func typeSession(t *testing.T, heading string, addresses *strings.Replacer, variables ...string) {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)## " + heading + "\n.*?```console\n(.*?)```").FindStringSubmatch(string(readme))
	if block == nil {
		t.Fatalf("README.md has no session under %s", heading)
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "pulsectl")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	env := append(append(os.Environ(), "PULSE_STATE_DIR="+filepath.Join(dir, "state")), variables...)
	execute := func(command string) string {
		cmd := exec.Command("bash", "-c", command)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("$ %s\n%s%v", command, out, err)
		}
		return string(out)
	}
	t.Cleanup(func() { execute(binary + " down") })

	id, outputs := shownID, map[string]string{}
	for line := range strings.Lines(block[1]) {
		shown, isCommand := strings.CutPrefix(strings.TrimSpace(line), "$ ")
		if !isCommand {
			continue
		}
		command := strings.NewReplacer("go run ./pulsectl", binary, shownID, id).Replace(addresses.Replace(shown))
		if strings.Contains(command, "/notifications?") { // a reader takes longer to type it
			execute(binary + " verify --timeout 30s")
		}
		out := execute(command)
		outputs[shown] = out
		if found := orderID.FindStringSubmatch(out); found != nil && id == shownID {
			id = found[1]
		}
	}
	for shown, out := range outputs {
		if strings.Contains(shown, "/notifications?") && strings.Count(out, id) != 1 {
			t.Errorf("$ %s\n%s: want one notification of order %s", shown, out, id)
		}
		if strings.HasSuffix(shown, " verify") && !strings.Contains(out, "verdict\tok") {
			t.Errorf("$ %s\n%s: want verdict ok", shown, out)
		}
	}
	if id == shownID || len(outputs) < 8 {
		t.Errorf("the session placed no order, or has only %d commands", len(outputs))
	}
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
