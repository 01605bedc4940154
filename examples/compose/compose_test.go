package compose

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/examples/acceptance"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

var (
	servers = []string{"postgres", "rabbitmq"}
	stdlib  = []string{"orders-stdlib", "notifications-stdlib"}
	gin     = []string{"orders-gin", "notifications-gin"}
	jobs    = []string{"migrate", "topology"}
)

// TestCompose starts a project with each client, uses both pairs of services, and
// removes it.
func TestCompose(t *testing.T) {
	for _, client := range testenv.Compose(t, "../../docker-compose.yml") {
		t.Run(strings.Join(client, "_"), func(t *testing.T) { testProject(t, newProject(t, client)) })
	}
}

func testProject(t *testing.T, p *project) {
	p.with(t, "stdlib,observe", "config", "--quiet") // no test runs what watches the services
	p.do(t, "build", "--quiet")

	t.Log("the services start while there is no broker")
	p.do(t, append([]string{"up", "--detach"}, stdlib...)...)
	p.awaitHealthy(t, append(stdlib, "postgres")...)
	if _, runs := p.containers(t)["rabbitmq"]; runs {
		t.Fatal("the services wait for the broker")
	}
	p.placeOrder(t, "stdlib")

	t.Log("all together")
	p.do(t, "up", "--detach")
	p.awaitHealthy(t, append(stdlib, servers...)...)
	before := p.containers(t)
	secrets := p.secrets(t)
	t.Run("containers", func(t *testing.T) { p.checkContainers(t) })
	t.Run("databases", func(t *testing.T) { p.checkDatabases(t, secrets) })
	p.awaitEnd(t, jobs...)
	t.Run("broker", func(t *testing.T) { p.checkBroker(t, secrets) })
	t.Run("acceptance", func(t *testing.T) { acceptance.Run(t, p.target(t, "stdlib")) })
	after := p.containers(t)
	for _, service := range stdlib {
		if c := after[service]; c.RestartCount != 0 || c.State.StartedAt != before[service].State.StartedAt {
			t.Errorf("%s was started again by the outages of the broker", service)
		}
	}
	t.Run("secrets", func(t *testing.T) { p.checkSecrets(t, secrets) })
	orders := p.listOrders(t, "stdlib")

	t.Log("killed, all of it, and started again as it was before the services had users of the broker, and an owner of their tables")
	p.do(t, append([]string{"kill"}, stdlib...)...)
	p.asBefore(t)
	p.do(t, "kill")
	p.do(t, "up", "--detach")
	p.awaitHealthy(t, append(stdlib, servers...)...)
	if p.secrets(t) != secrets {
		t.Error("the credentials have changed")
	}
	if p.listOrders(t, "stdlib") != orders {
		t.Error("the orders are not what they were")
	}
	p.awaitEnd(t, jobs...)
	p.checkDatabases(t, secrets)
	p.checkBroker(t, secrets)

	t.Log("stopped in order")
	p.do(t, "stop")
	for service, c := range p.containers(t) {
		if c.State.ExitCode != 0 || c.State.Status != "exited" {
			t.Errorf("%s: %s with exit code %d, want 0", service, c.State.Status, c.State.ExitCode)
		}
	}

	t.Log("the other pair on the same data")
	p.with(t, "gin", "up", "--detach", "--build")
	p.awaitHealthy(t, append(gin, servers...)...)
	if p.listOrders(t, "gin") != orders {
		t.Error("the other pair sees other orders")
	}
	t.Run("acceptance of gin", func(t *testing.T) { acceptance.Run(t, p.target(t, "gin")) })
	t.Run("secrets of gin", func(t *testing.T) { p.checkSecrets(t, secrets) })

	t.Log("down, with all data")
	for _, profile := range []string{"gin", "stdlib"} {
		p.with(t, profile, "down", "--volumes")
	}
	label := "label=com.docker.compose.project=" + p.name
	for _, left := range []string{
		strings.Join(p.ids(t), " "),
		docker(t, "volume", "ls", "--quiet", "--filter", label),
		docker(t, "network", "ls", "--quiet", "--filter", label),
	} {
		if left != "" {
			t.Errorf("left over: %s", left)
		}
	}
}

// placeOrder places an order, which has to be accepted.
func (p *project) placeOrder(t *testing.T, profile string) {
	t.Helper()
	body := strings.NewReader(`{"customerId":"customer-123","amount":77.5}`)
	if status, answer := p.ask(t, http.MethodPost, profile, "/orders", body); status != http.StatusCreated {
		t.Fatalf("POST /orders answers %d: %s", status, answer)
	}
}

// listOrders returns the newest orders as the service reports them.
func (p *project) listOrders(t *testing.T, profile string) string {
	t.Helper()
	status, answer := p.ask(t, http.MethodGet, profile, "/orders?limit=100", nil)
	if status != http.StatusOK {
		t.Fatalf("GET /orders answers %d: %s", status, answer)
	}
	return answer
}

// requestLimit bounds a request to a service that is healthy.
const requestLimit = 20 * time.Second

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), requestLimit)
	t.Cleanup(cancel)
	return ctx
}
