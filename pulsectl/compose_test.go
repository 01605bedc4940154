package main

import (
	"cmp"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// Scripts on containers. DOCKER_CONFIG decides which Compose client is found.
func TestScriptsCompose(t *testing.T) {
	variables := composeProject(t)
	run(t, "testdata/script/compose", func(env *testscript.Env) error {
		for _, v := range variables {
			name, value, _ := strings.Cut(v, "=")
			env.Setenv(name, value)
		}
		return nil
	})
}

// composeProject returns the variables of a project of the test's own, on free
// ports. It is gone with its data and its images when the test ends.
func composeProject(t *testing.T) (variables []string) {
	t.Helper()
	file, err := filepath.Abs("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	client := testenv.Compose(t, file)[0]
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	project := "pulse-test-" + strings.ToLower(rand.Text()[:8])
	variables = []string{
		"COMPOSE_PROJECT_NAME=" + project, "COMPOSE_PROFILES=", "PULSE_COMPOSE_FILE=" + file,
		"DOCKER_HOST=" + os.Getenv("DOCKER_HOST"), "DOCKER_CONFIG=" + cmp.Or(os.Getenv("DOCKER_CONFIG"), filepath.Join(home, ".docker")),
	}
	for _, name := range []string{"POSTGRES_IMAGE", "RABBITMQ_IMAGE", "BUILD_IMAGE", "BASE_IMAGE", "GOPROXY"} {
		if value := os.Getenv("PULSE_" + name); value != "" {
			variables = append(variables, "PULSE_"+name+"="+value)
		}
	}
	ports := []string{"POSTGRES", "AMQP", "RABBITMQ_UI", "ORDERS_STDLIB", "NOTIFICATIONS_STDLIB", "ORDERS_GIN", "NOTIFICATIONS_GIN",
		"ORDERS_STDLIB_METRICS", "NOTIFICATIONS_STDLIB_METRICS", "ORDERS_GIN_METRICS", "NOTIFICATIONS_GIN_METRICS"}
	for i, port := range testenv.FreePorts(t, len(ports)) {
		variables = append(variables, "PULSE_"+ports[i]+"_PORT="+strconv.Itoa(port))
	}
	t.Cleanup(func() {
		args := append(client[1:], "--file", file, "--project-name", project, "down", "--volumes", "--rmi", "local")
		cmd := exec.Command(client[0], args...)
		cmd.Env = append(append(os.Environ(), variables...), "COMPOSE_PROFILES=stdlib,gin")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", cmd, err, out)
		}
	})
	return variables
}
