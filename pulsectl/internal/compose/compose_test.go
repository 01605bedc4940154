package compose

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Real output of the clients. Version 2 and docker-compose 1.29 differ, and so do
// daemons.
func TestExplain(t *testing.T) {
	for name, c := range map[string]struct {
		said    string
		kind    fail.Kind
		message string
		cause   string // part of it
		hint    string // part of it
	}{
		"no daemon": {
			"\nCannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n",
			fail.Unreachable, "the Docker daemon does not answer", "unix:///var/run/docker.sock", "DOCKER_HOST",
		},
		"no daemon, in the words of docker 29": {
			"failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct and if the daemon is running: dial unix /var/run/docker.sock: connect: no such file or directory\n",
			fail.Unreachable, "the Docker daemon does not answer", "unix:///var/run/docker.sock", "DOCKER_HOST",
		},
		"no daemon, docker-compose 1.29": {
			"Traceback (most recent call last):\n  File \"/usr/bin/docker-compose\", line 33, in <module>\n" +
				"docker.errors.DockerException: Error while fetching server API version: ('Connection aborted.', FileNotFoundError(2, 'No such file or directory'))\n",
			fail.Unreachable, "the Docker daemon does not answer", "Connection aborted", "DOCKER_HOST",
		},
		"no permission": {
			"permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get \"http://%2Fvar%2Frun%2Fdocker.sock/v1.50/version\": dial unix /var/run/docker.sock: connect: permission denied\n",
			fail.Unreachable, "the Docker daemon refuses this user", "/var/run/docker.sock", "usermod -aG docker",
		},
		"no permission, docker-compose 1.29": {
			"docker.errors.DockerException: Error while fetching server API version: ('Connection aborted.', PermissionError(13, 'Permission denied'))\n",
			fail.Unreachable, "the Docker daemon refuses this user", "PermissionError", "usermod -aG docker",
		},
		"no registry, docker-compose 1.29": {
			"Pulling b (postgres:17)...\nGet \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io on 10.0.0.53:53: no such host\n",
			fail.General, "an image cannot be pulled", "registry-1.docker.io", "PULSE_POSTGRES_IMAGE",
		},
		"no registry": {
			" b Pulling \n b Error Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io on 10.0.0.53:53: no such host\n" +
				"Error response from daemon: Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io on 10.0.0.53:53: no such host\n",
			fail.General, "an image cannot be pulled", "registry-1.docker.io", "PULSE_RABBITMQ_IMAGE",
		},
		"no registry to build from": {
			"#3 ERROR: failed to do request: Head \"https://registry-1.docker.io/v2/library/golang/manifests/1.26\": dial tcp: lookup registry-1.docker.io on 10.0.0.53:53: no such host\n",
			fail.General, "an image cannot be pulled", "golang/manifests/1.26", "PULSE_BUILD_IMAGE",
		},
		"pull denied": {
			"Error response from daemon: pull access denied for nobody/nothing, repository does not exist or may require 'docker login': denied: requested access to the resource is denied\n",
			fail.General, "an image cannot be pulled", "nobody/nothing", "PULSE_BASE_IMAGE",
		},
		"another host that a build looks up": {
			"go: downloading example.org/x v1.0.0\ndial tcp: lookup proxy.golang.org on 10.0.0.53:53: no such host\n",
			fail.General, "docker compose up failed", "proxy.golang.org", "",
		},
		"silence": {"", fail.General, "docker compose up failed", "exit status 1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, ok := errors.AsType[*fail.Error](explain("docker compose up", c.said, errors.New("exit status 1")))
			if !ok {
				t.Fatal("no fail.Error")
			}
			if f.Kind != c.kind || f.Message != c.message || !strings.Contains(f.Cause.Error(), c.cause) || !strings.Contains(f.Hint, c.hint) {
				t.Errorf("got %s %q, cause %q, hint %q", f.Kind, f.Message, f.Cause, f.Hint)
			}
		})
	}
}

func TestExplainPortInUse(t *testing.T) {
	for _, said := range []string{
		"Error response from daemon: driver failed programming external connectivity on endpoint x-1 (0ece): Error starting userland proxy: listen tcp4 127.0.0.1:5999: bind: address already in use",
		"ERROR: for x_1  Cannot start service a: driver failed programming external connectivity on endpoint x_1 (bac0): Bind for 127.0.0.1:5999 failed: port is already allocated",
		"Error response from daemon: failed to set up container networking: driver failed programming external connectivity on endpoint x-1 (0ece): failed to bind host port 127.0.0.1:5999/tcp: address already in use",
		"Error response from daemon: driver failed programming external connectivity on endpoint x-1 (0ece): failed to bind host port for 127.0.0.1:5999:172.18.0.2:80/tcp: address already in use",
	} {
		taken, ok := errors.AsType[*PortError](explain("docker compose up", "Creating x_1\n"+said+"\n", errors.New("exit status 1")))
		if !ok || taken.Addr != "127.0.0.1:5999" {
			t.Errorf("%v from %s", taken, said)
		}
	}
}

func TestParseContainers(t *testing.T) {
	raw, err := os.ReadFile("testdata/inspect.json")
	if err != nil {
		t.Fatal(err)
	}
	list, err := parseContainers(raw)
	if err != nil || len(list) != 3 {
		t.Fatalf("%d containers, %v", len(list), err)
	}
	for i, want := range []struct {
		service, name, condition, port, addr string
		healthy                              bool
	}{
		{"credentials", "pulse-events-credentials-1", "exited", "80", "", false},
		{"orders-stdlib", "pulse-events-orders-stdlib-1", "unhealthy", "6101", "127.0.0.1:6101", false},
		{"postgres", "pulse-events-postgres-1", "running", "5432", "127.0.0.1:5433", true}, // has no check; bound to all addresses
	} {
		c := list[i]
		if c.Service != want.service || c.Name != want.name || c.Condition() != want.condition || c.Addr(want.port) != want.addr || c.Healthy() != want.healthy {
			t.Errorf("%d: %+v, want %+v", i, c, want)
		}
	}
	if out := list[1].HealthOutput; out != "cannot reach the outbox database" {
		t.Errorf("the last check says %q", out)
	}
	if list[0].FinishedAt.IsZero() || list[0].ExitCode != 3 {
		t.Errorf("exit code %d at %v", list[0].ExitCode, list[0].FinishedAt)
	}
}

func TestFindFile(t *testing.T) {
	root := t.TempDir()
	inner := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := FindFile("other.yml", inner); fail.From(err).Kind != fail.Usage {
		t.Errorf("a file that is not there: %v", err)
	}
	want := filepath.Join(root, FileName)
	if err := os.WriteFile(want, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for given, dir := range map[string]string{"": inner, FileName: root, want: inner, "../../" + FileName: inner} {
		if got, err := FindFile(given, dir); err != nil || got != want {
			t.Errorf("%q in %s: %s, %v", given, dir, got, err)
		}
	}
}

func TestReadSettings(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Pulse.Events")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, FileName)
	env := map[string]string{"PULSE_AMQP_PORT": "1"}
	read := func() Settings {
		s, err := ReadSettings(file, func(name string) string { return env[name] })
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if name := ProjectName(file, read()); name != "pulseevents" {
		t.Errorf("named after the folder: %q", name)
	}
	text := "# PULSE_AMQP_PORT=9\nCOMPOSE_PROFILES=stdlib\n\nPULSE_AMQP_PORT=2\nQUOTED = \"a # b\"\nPLAIN=a # b\nCOMPOSE_PROJECT_NAME='mine'\n"
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := read()
	for name, want := range map[string]string{"COMPOSE_PROFILES": "stdlib", "PULSE_AMQP_PORT": "1", "QUOTED": "a # b", "PLAIN": "a", "MISSING": ""} {
		if got := s.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if name := ProjectName(file, s); name != "mine" {
		t.Errorf("named by .env: %q", name)
	}
	env["COMPOSE_PROJECT_NAME"] = "theirs"
	if name := ProjectName(file, s); name != "theirs" {
		t.Errorf("named by the environment: %q", name)
	}
}

func TestImagesIn(t *testing.T) {
	for name, config := range map[string]string{
		"version 2": "name: x\nservices:\n  credentials:\n    build:\n      context: /src\n      args:\n        image: no\n    image: built\n" +
			"  postgres:\n    environment:\n      image: no\n    image: registry.example:5000/postgres:17\n  again:\n    image: \"registry.example:5000/postgres:17\"\n" +
			"  rabbitmq:\n    image: rabbitmq:4\nnetworks:\n  default:\n    image: no\n",
		"version 1": "services:\n  credentials:\n    build:\n      context: /src\n  postgres:\n    image: registry.example:5000/postgres:17\n" +
			"  rabbitmq:\n    image: rabbitmq:4\n    profiles:\n    - gin\n    - stdlib\n" +
			"  grafana:\n    image: grafana:12\n    profiles:\n    - observe\nversion: '3.9'\nvolumes:\n  x: {}\n",
	} {
		want := []string{"rabbitmq:4", "registry.example:5000/postgres:17"}
		if got, _, err := imagesIn([]byte(config), Project{Profiles: "other, stdlib"}); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
}

// Services of the same build are built once.
func TestBuildsIn(t *testing.T) {
	config := `services:
  migrate: {build: {target: jobs, context: /src, args: {A: "1"}}}
  credentials: {build: {context: /src, target: jobs, args: {A: "1"}}, entrypoint: [/credentials]}
  topology: {build: {context: /src, target: jobs, args: {A: "2"}}}
  named: {build: {context: /src, target: jobs, args: {A: "1"}}, image: mine}
  gin: {build: {context: /src, target: jobs, args: {A: "1"}}, profiles: [gin]}
  postgres: {image: postgres}
`
	want := [][]string{{"credentials", "migrate"}, {"named"}, {"topology"}}
	images, builds, err := imagesIn([]byte(config), Project{Profiles: "stdlib"})
	if err != nil || !slices.Equal(images, []string{"postgres"}) || !slices.EqualFunc(builds, want, slices.Equal) {
		t.Errorf("images %q, builds %q, %v, want builds %q", images, builds, err, want)
	}
}

func TestCallShown(t *testing.T) {
	c := call{args: []string{"docker", "compose", "--file", "/home/me/docker-compose.yml", "--project-name", "x", "up", "--detach"}}
	if got := c.shown(); got != "docker compose up --detach" {
		t.Error(got)
	}
}
