package compose

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Container is a container as docker inspect shows it.
type Container struct {
	ID, Name, Service, Image string
	Status                   string // created, running, paused, restarting, exited, dead
	Health                   string // starting, healthy, unhealthy; empty: no health check
	HealthOutput             string // the output of the last check
	ExitCode, Restarts       int
	StartedAt, FinishedAt    time.Time
	addrs                    map[string]string // by the container's port
}

// Healthy reports whether the container runs and its health check, if it has
// one, succeeds.
func (c Container) Healthy() bool {
	return c.Status == "running" && (c.Health == "" || c.Health == "healthy")
}

// Condition returns the state in one word: the health if there is a check.
func (c Container) Condition() string {
	if c.Status == "running" && c.Health != "" {
		return c.Health
	}
	return c.Status
}

// Addr returns the address on this machine of a port of the container, or "" if
// the port is not published or the container does not run.
func (c Container) Addr(port string) string { return c.addrs[port] }

// Containers lists the containers of a project, including stopped ones, ordered
// by service. It needs no compose file.
func Containers(ctx context.Context, project string) ([]Container, error) {
	if err := findDocker(); err != nil {
		return nil, err
	}
	ids, err := run(ctx, call{limit: askLimit, args: []string{"docker", "ps", "--all", "--quiet", "--no-trunc",
		"--filter", "label=com.docker.compose.project=" + project, "--filter", "label=com.docker.compose.oneoff=False"}})
	if err != nil || len(bytes.Fields(ids)) == 0 {
		return nil, err
	}
	raw, err := run(ctx, call{limit: askLimit, args: append([]string{"docker", "inspect"}, strings.Fields(string(ids))...)})
	if err != nil {
		return nil, err
	}
	return parseContainers(raw)
}

func parseContainers(raw []byte) ([]Container, error) {
	var shown []struct {
		ID           string `json:"Id"`
		Name         string
		RestartCount int
		Config       struct {
			Image  string
			Labels map[string]string
		}
		State struct {
			Status                string
			ExitCode              int
			StartedAt, FinishedAt time.Time
			Health                *struct {
				Status string
				Log    []struct{ Output string }
			}
		}
		NetworkSettings struct {
			Ports map[string][]struct{ HostIP, HostPort string }
		}
	}
	if err := json.Unmarshal(raw, &shown); err != nil {
		return nil, fmt.Errorf("docker inspect: %w", err)
	}
	var list []Container
	for _, s := range shown {
		c := Container{
			ID: s.ID, Name: strings.TrimPrefix(s.Name, "/"), Service: s.Config.Labels["com.docker.compose.service"], Image: s.Config.Image,
			Status: s.State.Status, ExitCode: s.State.ExitCode, Restarts: s.RestartCount,
			StartedAt: s.State.StartedAt, FinishedAt: s.State.FinishedAt, addrs: map[string]string{},
		}
		if h := s.State.Health; h != nil && h.Status != "none" {
			c.Health = h.Status
			if n := len(h.Log); n > 0 {
				c.HealthOutput = strings.TrimSpace(h.Log[n-1].Output)
			}
		}
		for port, bindings := range s.NetworkSettings.Ports {
			number, _, _ := strings.Cut(port, "/")
			for _, b := range bindings {
				host := b.HostIP
				if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
					host = "127.0.0.1"
				}
				c.addrs[number] = cmp.Or(c.addrs[number], net.JoinHostPort(host, b.HostPort))
			}
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Container) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Name, b.Name))
	})
	return list, nil
}

// StopCommand returns the command that stops the container, as it is typed. The
// container shuts down within the time that its compose file sets.
func (c Container) StopCommand() []string { return []string{"docker", "stop", c.Name} }

// StartCommand returns the command that starts the container again.
func (c Container) StartCommand() []string { return []string{"docker", "start", c.Name} }

// RestartCommand returns the command that restarts the container.
func (c Container) RestartCommand() []string { return []string{"docker", "restart", c.Name} }

// Control runs one of these commands.
func Control(ctx context.Context, command []string) error {
	_, err := run(ctx, call{args: command})
	return err
}

// Logs returns the last lines that a container has written.
func Logs(ctx context.Context, c Container, lines int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", "logs", "--tail", fmt.Sprint(lines), c.Name).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}
